use crate::{Database, Session};
use std::sync::Barrier;
use std::thread;

/// Runs `work` in each of the threads at the same moment, each with a session of its own.
pub fn at_once<T: Send>(database: &Database, threads: usize, work: impl Fn(usize, &mut Session) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let (work, start) = (&work, &start);
                scope.spawn(move || {
                    let mut session = database.session();
                    start.wait();
                    work(number, &mut session)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}
