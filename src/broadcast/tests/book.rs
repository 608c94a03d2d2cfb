use crate::broadcast::fixtures::*;
