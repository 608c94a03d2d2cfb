//! Repair by due time (DESIGN §3): what is missing, when to ask, when to give up; and the budget of
//! the one who answers. Used by `child` and `parent`.
