//! The job thread: store work of trunk and branches, in order, away from the packets.
use super::certify::Office;
use super::queue;
use super::store::Store;
use crate::node::{Certify, Done, Job};
use crate::proto;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Who asked, with the number that it knows the job by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Trunk,
    Branch(usize),
}

struct Task {
    asker: Asker,
    job: u64,
    work: Job,
}

/// Where results go; one per asker.
pub type Results = queue::Sender<(u64, Done)>;

/// Hands work to the thread. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    tasks: Sender<Task>,
}

impl Jobs {
    /// `Err` gives the answer at once: the queue is full (for a branch, half full), or the node is stopping.
    pub fn give(&self, asker: Asker, job: u64, work: Job) -> Result<(), Done> {
        // Children may ask for as much as they like, but not so that an order finds no room.
        if matches!(asker, Asker::Branch(_)) && self.tasks.len() >= WAITING / 2 {
            return Err(Done::Failed(format!("{} jobs wait for the disk; ask again later", WAITING / 2)));
        }
        self.tasks.try_send(Task { asker, job, work }).map_err(|error| match error {
            TrySendError::Full(_) => Done::Failed(format!("{WAITING} jobs wait for the disk; it is too slow")),
            TrySendError::Disconnected(_) => Done::Failed("the node is stopping".to_owned()),
        })
    }
}

/// Starts the thread; it ends when the last `Jobs` is dropped, after what was given before.
pub fn start(
    store: Arc<Store>,
    office: Option<Office>,
    trunk: Results,
    branches: Vec<Results>,
) -> io::Result<(Jobs, JoinHandle<()>)> {
    let (tasks, receiver) = bounded(WAITING);
    let thread = std::thread::Builder::new().name("jobs".into()).spawn(move || {
        run(&store, office.as_ref(), &receiver, &trunk, &branches);
    })?;
    Ok((Jobs { tasks }, thread))
}

fn run(store: &Store, office: Option<&Office>, tasks: &Receiver<Task>, trunk: &Results, branches: &[Results]) {
    let mut group: Vec<Task> = Vec::new();
    loop {
        if group.is_empty() {
            let Ok(task) = tasks.recv() else { return };
            group.push(task);
        }
        // Orders that wait together are synced together: one turn of the disk serves them all.
        while group.len() < GROUP && group.iter().all(|task| matches!(task.work, Job::Journal(_))) {
            match tasks.try_recv() {
                Ok(task) => group.push(task),
                Err(_) => break,
            }
        }
        let journal = group.iter().take_while(|task| matches!(task.work, Job::Journal(_))).count();
        let answer = |task: &Task, done: Done| {
            let results = match task.asker {
                Asker::Trunk => Some(trunk),
                Asker::Branch(branch) => branches.get(branch),
            };
            if let Some(results) = results {
                results.wait((task.job, done));
            }
        };
        if journal > 0 {
            let records: Vec<proto::Record> = group
                .iter()
                .take(journal)
                .flat_map(|task| match &task.work {
                    Job::Journal(records) => records.clone(),
                    _ => Vec::new(),
                })
                .collect();
            let done = done(store.append(&records).map(|()| Done::Ok));
            for task in group.drain(..journal) {
                answer(&task, done.clone());
            }
        } else {
            let task = group.remove(0);
            let result = match &task.work {
                Job::Certify(whom) => certify(office, whom),
                work => done(of_store(store, work)),
            };
            answer(&task, result);
        }
    }
}

/// About a tenth of a millisecond.
fn certify(office: Option<&Office>, whom: &Certify) -> Done {
    let office = office.ok_or_else(|| "this node certifies nobody".to_owned());
    office.and_then(|office| office.certify(whom)).map_or_else(Done::Failed, Done::Certified)
}

fn of_store(store: &Store, job: &Job) -> io::Result<Done> {
    match job {
        Job::Journal(records) => store.append(records).map(|()| Done::Ok),
        Job::Keep { track, packets } => store.keep(*track, packets).map(|()| Done::Ok),
        Job::Fetch { track, from, until } => {
            let until = (*until).min(from.saturating_add(FETCH));
            store.fetch(*track, *from, until).map(|packets| Done::Packets { track: *track, packets })
        }
        Job::Forget { track } => store.forget(*track).map(|()| Done::Ok),
        Job::Certify(_) => Ok(Done::Failed("the disk certifies nobody".to_owned())),
    }
}

fn done(result: io::Result<Done>) -> Done {
    result.unwrap_or_else(|error| {
        tracing::error!(code = "store.failed", %error, "the store");
        Done::Failed(error.to_string())
    })
}

/// Jobs that may wait: 64 children's fetches and a minute of orders, at a disk that takes 20 ms each.
const WAITING: usize = 1_024;
/// Journal jobs synced together at most.
const GROUP: usize = 64;
/// Packets of one answer: 300 KiB.
const FETCH: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::queue::bounded;
    use crate::track::Packet;
    use bytes::Bytes;
    use uuid::Uuid;

    #[test]
    fn fetches_of_children_leave_room_for_orders() {
        let (tasks, _receiver) = crossbeam_channel::bounded(WAITING);
        let jobs = Jobs { tasks };
        let fetch = || Job::Fetch { track: Uuid::nil(), from: 0, until: 1 };
        let taken = (0..2 * WAITING as u64).filter(|job| jobs.give(Asker::Branch(0), *job, fetch()).is_ok()).count();
        assert!(taken >= WAITING / 2);
        assert_eq!(jobs.give(Asker::Trunk, 0, Job::Journal(Vec::new())), Ok(()));
    }

    #[test]
    fn jobs_are_answered_in_order_each_to_its_asker() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let (trunk, to_trunk) = bounded("jobs.trunk", 64, None);
        let (branch, to_branch) = bounded("jobs.branch", 64, None);
        let (jobs, thread) = start(store.clone(), None, trunk, vec![branch]).unwrap();
        let track = Uuid::from_u128(3);
        let packets = vec![Packet { index: 4, bytes: Bytes::from_static(b"four") }];
        let record = |time| proto::Record { body: Some(proto::record::Body::Time(time)) };
        for number in 0..10 {
            jobs.give(Asker::Trunk, number, Job::Journal(vec![record(number as i64)])).unwrap();
        }
        jobs.give(Asker::Trunk, 10, Job::Keep { track, packets: packets.clone() }).unwrap();
        jobs.give(Asker::Branch(0), 7, Job::Fetch { track, from: 0, until: u64::MAX }).unwrap();
        jobs.give(Asker::Branch(9), 8, Job::Forget { track }).unwrap();
        jobs.give(Asker::Trunk, 11, Job::Journal(vec![record(10)])).unwrap();
        drop(jobs);
        thread.join().unwrap();
        assert!(to_trunk.try_iter().eq((0..12).map(|job| (job, Done::Ok))));
        assert_eq!(to_branch.try_iter().collect::<Vec<_>>(), [(7, Done::Packets { track, packets })]);
        assert_eq!(store.journal().unwrap(), (0..11).map(record).collect::<Vec<_>>());
        assert!(store.fetch(track, 0, 9).unwrap().is_empty());
    }
}
