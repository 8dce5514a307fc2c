//! The queue of the log's thread, what waits for it: the lanes of the workers, and what it is asked for.
//!
//! How nothing is missed, with the thread asleep and awake. The thread says that it sleeps, *then* looks into every
//! lane under its lock, then sleeps. A worker leaves its record under the lock, *then* reads whether the thread sleeps.
//! Whose turn with the lock comes first decides: if the worker's, the thread sees the record and stays awake; if the
//! thread's, what it said before is seen by the worker after, and the worker wakes it. A lane is added under the lock
//! of the list, which the thread takes in between, so the same holds for one that it did not find in the list. The
//! flag itself therefore needs no order of its own.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::counters::Counters;
use crate::lane::{Budget, Lane};
use crate::packed::Packing;

/// What the thread is asked for.
pub(crate) enum Message {
    /// Answer when everything written before has been dealt with.
    Mark(oneshot::Sender<()>),
    /// Open the file anew when these records, which were written before, are in the old one.
    Reopen(Batch),
}

/// How far the log is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum QueueStage {
    #[default]
    Open,
    /// No more records are taken; those that were are being dealt with.
    Stopping,
    /// The thread has ended.
    Ended,
}

/// What workers write all the time stands apart from this, which they only read.
#[derive(Default)]
#[repr(align(128))]
struct Asleep(AtomicBool);

/// Shared by the log's thread and by all who write.
pub(crate) struct Queue {
    asleep: Asleep,
    waiting: Mutex<Waiting>,
    budget: Budget,
    counters: Arc<Counters>,
    thread: OnceLock<Thread>,
}

#[derive(Default)]
struct Waiting {
    lanes: Vec<Arc<Lane>>,
    messages: Vec<Message>,
    stage: QueueStage,
}

impl Queue {
    pub(crate) fn new(bytes: usize, counters: Arc<Counters>) -> Self {
        let (asleep, waiting, thread) = (Asleep::default(), Mutex::default(), OnceLock::new());
        Self { asleep, waiting, budget: Budget::new(bytes), counters, thread }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which thread it is.
    pub(crate) fn belongs_to(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Leaves a message. One that comes too late is dropped, and with it the answer that somebody waits for.
    pub(crate) fn tell(&self, message: Message) {
        let mut waiting = self.waiting();
        if waiting.stage != QueueStage::Ended {
            waiting.messages.push(message);
        }
        drop(waiting);
        self.wake();
    }

    /// Asks for the file to be opened anew between what has been written and what will be.
    pub(crate) fn reopen(&self) {
        let mut waiting = self.waiting();
        let mut before = Batch::default();
        waiting.lanes.iter().for_each(|lane| before.take(lane, &mut Vec::new(), &self.budget));
        if waiting.stage != QueueStage::Ended {
            waiting.messages.push(Message::Reopen(before));
        }
        drop(waiting);
        self.wake();
    }

    /// Takes no more records. What was taken is dealt with.
    pub(crate) fn stop(&self) {
        self.close(QueueStage::Stopping);
        self.wake();
    }

    /// The thread has ended, well or not: nobody takes anything any more, and nobody waits for it.
    pub(crate) fn end(&self) {
        let unanswered = self.close(QueueStage::Ended);
        drop(unanswered);
    }

    fn close(&self, stage: QueueStage) -> Vec<Message> {
        let mut waiting = self.waiting();
        if waiting.stage == QueueStage::Open {
            waiting.lanes.iter().for_each(|lane| lane.close());
        }
        if waiting.stage != QueueStage::Ended {
            waiting.stage = stage;
        }
        if stage != QueueStage::Ended {
            return Vec::new();
        }
        // Nobody looks into them any more.
        waiting.lanes.clear();
        mem::take(&mut waiting.messages)
    }

    /// Everything that waits, as it is at one moment: first comes what the messages bring along, then what is in the
    /// lanes. Lanes whose worker has gone are forgotten. Returns how many are left, and how far the log is.
    pub(crate) fn take(
        &self,
        messages: &mut Vec<Message>,
        taken: &mut Batch,
        spare: &mut Vec<Vec<u8>>,
    ) -> (usize, QueueStage) {
        let mut waiting = self.waiting();
        mem::swap(&mut waiting.messages, messages);
        waiting.lanes.retain_mut(|lane| {
            // Before its records are taken: who has gone by now can have left no more.
            let has_gone = Arc::get_mut(lane).is_some();
            taken.take(lane, spare, &self.budget);
            !has_gone
        });
        (waiting.lanes.len(), waiting.stage)
    }

    /// What was taken has been dealt with.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.budget.give_back(bytes);
    }

    /// Lets the thread sleep, unless something waits. From now on, who writes wakes it.
    pub(crate) fn sleep(&self, sleep: impl FnOnce()) {
        self.asleep.0.store(true, Ordering::Relaxed);
        if self.is_quiet() {
            sleep();
        }
        self.asleep.0.store(false, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.0.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.waiting().lanes.len()
    }

    /// Bytes that are taken.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.budget.taken()
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.budget.free()
    }

    /// Whether nothing waits.
    pub(crate) fn is_quiet(&self) -> bool {
        let waiting = self.waiting();
        waiting.messages.is_empty()
            && waiting.stage == QueueStage::Open
            && waiting.lanes.iter().all(|lane| lane.is_at_rest())
    }
}

/// One way into the log, with a lane of its own.
pub(crate) struct Entrance {
    lane: Arc<Lane>,
    inbox: Arc<Queue>,
}

impl Entrance {
    pub(crate) fn new(inbox: &Arc<Queue>) -> Self {
        let lane = Arc::new(Lane::default());
        let mut waiting = inbox.waiting();
        if waiting.stage == QueueStage::Open {
            waiting.lanes.push(Arc::clone(&lane));
        } else {
            lane.close();
        }
        drop(waiting);
        Self { lane, inbox: Arc::clone(inbox) }
    }
}

impl AccessLog for Entrance {
    fn write(&self, record: &Record) {
        let inbox = &*self.inbox;
        if !self.lane.put(&Packing::of(record), &inbox.budget) {
            inbox.counters.records_dropped.add_one();
            return;
        }
        // Waking costs a system call, so the thread looks by itself for a while before it sleeps.
        let asleep = &inbox.asleep.0;
        if asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::Relaxed) {
            inbox.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::SystemTime;

    use super::*;
    use crate::line::tests::record;

    fn inbox() -> Arc<Queue> {
        Arc::new(Queue::new(1 << 20, Arc::default()))
    }

    fn sleeps(inbox: &Queue) -> bool {
        let mut slept = false;
        inbox.sleep(|| slept = true);
        slept
    }

    fn take(inbox: &Queue) -> usize {
        let (mut taken, mut pieces) = (Batch::default(), Vec::new());
        inbox.take(&mut Vec::new(), &mut taken, &mut Vec::new());
        taken.next(&mut Vec::new(), usize::MAX, &mut pieces);
        pieces.len()
    }

    #[test]
    fn nobody_sleeps_over_something_that_waits() {
        let (inbox, record) = (inbox(), record(SystemTime::UNIX_EPOCH));
        assert!(sleeps(&inbox));
        let lanes = [0, 1, 2].map(|_| Entrance::new(&inbox));
        for lane in &lanes {
            assert!(sleeps(&inbox));
            lane.write(&record);
            assert!(!sleeps(&inbox));
            assert_eq!(take(&inbox), 1);
        }
        lanes[1].write(&record);
        drop(lanes);
        assert!(!sleeps(&inbox), "its worker has gone, and left something");
        assert_eq!(take(&inbox), 1);
        assert!(sleeps(&inbox));
        inbox.reopen();
        assert!(!sleeps(&inbox));
        take(&inbox);
        inbox.tell(Message::Mark(oneshot::channel().0));
        assert!(!sleeps(&inbox));
        take(&inbox);
        inbox.stop();
        assert!(!sleeps(&inbox));
    }

    #[test]
    fn who_writes_while_the_thread_sleeps_wakes_it_and_only_the_first_does() {
        let inbox = inbox();
        inbox.belongs_to(thread::current());
        let lanes = [Entrance::new(&inbox), Entrance::new(&inbox)];
        inbox.sleep(|| {
            lanes[1].write(&record(SystemTime::UNIX_EPOCH));
            assert!(!inbox.is_asleep());
            // Does not last, because this thread has been woken.
            thread::park();
            lanes[0].write(&record(SystemTime::UNIX_EPOCH));
        });
        assert_eq!(take(&inbox), 2);
        lanes[0].write(&record(SystemTime::UNIX_EPOCH));
        assert!(!sleeps(&inbox));
    }

    /// Leaves so many records in lanes by turns, while nobody takes them. Returns how many were dropped, and the bytes of
    /// those that were not, which are taken then.
    fn overload(inbox: &Arc<Queue>, lanes: &[Entrance], records: u64) -> (u64, Vec<usize>) {
        for (number, lane) in (0..records).zip((0..lanes.len()).cycle()) {
            lanes[lane].write(&record(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number)));
        }
        let (mut taken, mut bytes, mut done) = (Batch::default(), Vec::new(), Vec::new());
        inbox.take(&mut Vec::new(), &mut taken, &mut Vec::new());
        taken.next(&mut bytes, usize::MAX, &mut done);
        inbox.give_back(done.iter().map(Vec::len).sum());
        let sizes = crate::packed::each(&bytes).map(<[u8]>::len).collect();
        (inbox.counters.records_dropped.get(), sizes)
    }

    #[test]
    fn all_lanes_together_hold_what_may_wait_and_no_more() {
        let most = 256 << 10;
        let inbox = Arc::new(Queue::new(most, Arc::default()));
        let lanes = [0, 1, 2].map(|_| Entrance::new(&inbox));
        let (dropped, kept) = overload(&inbox, &lanes, 30_000);
        assert!(dropped > 0);
        assert_eq!(kept.len() as u64, 30_000 - dropped, "what was taken is there, and once");
        let bytes: usize = kept.iter().sum();
        assert!(bytes <= most && bytes > most / 2, "{bytes}");
        // And there is room again.
        assert_eq!(inbox.free(), most);
        let before = inbox.counters.records_dropped.get();
        let (dropped, kept) = overload(&inbox, &lanes, 3);
        assert_eq!((dropped, kept.len()), (before, 3));
    }

    #[test]
    fn a_lane_may_have_what_the_others_do_not_need() {
        let most = 256 << 10;
        let inbox = Arc::new(Queue::new(most, Arc::default()));
        let lanes = [0, 1, 2, 3].map(|_| Entrance::new(&inbox));
        let (_, kept) = overload(&inbox, &lanes[..1], 30_000);
        assert!(kept.iter().sum::<usize>() > most / 2);
    }

    /// Whoever leaves something before the thread looks is seen; whoever comes after has to see that it sleeps.
    #[test]
    fn the_thread_says_that_it_sleeps_before_it_looks_into_any_lane() {
        let inbox = inbox();
        let lanes = [0, 1, 2].map(|_| Entrance::new(&inbox));
        let says_that_it_sleeps = || {
            let inbox = Arc::clone(&inbox);
            let sleeping = thread::spawn(move || sleeps(&inbox));
            while !lanes[0].inbox.is_asleep() {
                thread::yield_now();
            }
            sleeping
        };
        for lane in &lanes {
            let held = lane.lane.hold();
            let sleeping = says_that_it_sleeps();
            drop(held);
            assert!(sleeping.join().expect("no panic"));
        }
        // So it is with one that is added before it looks through the list.
        let held = inbox.waiting();
        let sleeping = says_that_it_sleeps();
        drop(held);
        assert!(sleeping.join().expect("no panic"));
    }
}
