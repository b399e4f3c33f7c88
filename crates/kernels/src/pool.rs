//! One persistent pool of threads for the whole process.
//!
//! Small-model decoding is dominated by synchronisation, so helpers spin for some tens of microseconds before they
//! park, the calling thread takes part, and a caller never waits for a helper that has not yet begun. What a task does
//! may depend on its number only; which thread runs it is left open, so results are the same for any thread count.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long an idle helper spins before it parks.
const SPIN: Duration = Duration::from_micros(40);

// The state word: epoch of the published job, whether helpers may still join it, and how many have.
const OPEN: u64 = 1 << 15;
const JOINED: u64 = OPEN - 1;
const EPOCH: u64 = 1 << 16;

thread_local! {
    /// True on helpers, and on a caller while its job runs: nested calls then run inline.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Job<'a> {
    run: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job<'_> {
    fn work(&self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= self.tasks {
                    break;
                }
                (self.run)(task);
            }
        }));
        if let Err(payload) = outcome {
            // Nobody needs the remaining tasks: the call is going to unwind.
            self.next.store(self.tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(payload);
        }
    }
}

struct Pool {
    state: AtomicU64,
    job: AtomicPtr<Job<'static>>,
    busy: AtomicBool,
    threads: AtomicUsize,
    spawned: Mutex<usize>,
    sleepers: AtomicUsize,
    gate: Mutex<()>,
    wake: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool {
        state: AtomicU64::new(0),
        job: AtomicPtr::new(std::ptr::null_mut()),
        busy: AtomicBool::new(false),
        threads: AtomicUsize::new(std::thread::available_parallelism().map_or(1, usize::from)),
        spawned: Mutex::new(0),
        sleepers: AtomicUsize::new(0),
        gate: Mutex::new(()),
        wake: Condvar::new(),
    })
}

/// Sets how many threads, the caller included, take part in each call from now on (at least one).
pub fn set_threads(n: usize) {
    pool().threads.store(n.clamp(1, 1024), Ordering::Relaxed);
}

/// How many threads take part in a call; at first, as many as the machine offers.
pub fn threads() -> usize {
    pool().threads.load(Ordering::Relaxed)
}

impl Pool {
    fn spawn_up_to(&'static self, helpers: usize) {
        let mut spawned = lock(&self.spawned);
        while *spawned < helpers {
            let index = *spawned;
            let thread = std::thread::Builder::new().name(format!("kernels-{index}"));
            if thread.spawn(move || self.help(index)).is_err() {
                break; // No more threads to be had: those that exist do the work.
            }
            *spawned += 1;
        }
    }

    fn help(&'static self, index: usize) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            let state = self.wait_for_job(index, seen);
            if self
                .state
                .compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            seen = state / EPOCH;
            // SAFETY: joining succeeded, so the job was open and its caller waits in `publish` until we leave below.
            let job = unsafe { &*self.job.load(Ordering::Acquire) };
            job.work();
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    fn wait_for_job(&self, index: usize, seen: u64) -> u64 {
        let wanted = |state: u64| {
            state & OPEN != 0
                && state / EPOCH != seen
                && index + 1 < self.threads.load(Ordering::Relaxed)
        };
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                let state = self.state.load(Ordering::Acquire);
                if wanted(state) {
                    return state;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= SPIN {
                break;
            }
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut gate = lock(&self.gate);
        let state = loop {
            let state = self.state.load(Ordering::SeqCst);
            if wanted(state) {
                break state;
            }
            gate = self.wake.wait(gate).unwrap_or_else(PoisonError::into_inner);
        };
        drop(gate);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        state
    }

    fn publish(&self, job: &Job<'_>) {
        self.job
            .store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Release);
        let epoch = self.state.load(Ordering::Relaxed) / EPOCH + 1;
        self.state.store((epoch * EPOCH) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.gate));
            self.wake.notify_all();
        }
        INSIDE.set(true);
        job.work();
        INSIDE.set(false);
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0_u32;
        while self.state.load(Ordering::Acquire) & JOINED != 0 {
            spins += 1;
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Runs `f(0)`, …, `f(tasks - 1)`, each once, on the pool and the calling thread; returns when all are done.
///
/// Calls from within a task, and calls made while another thread is using the pool, run on the caller alone.
///
/// # Panics
/// A panic in a task is passed on to the caller once no thread is left inside the call.
pub fn parallel_for(tasks: usize, f: impl Fn(usize) + Sync) {
    let pool = pool();
    let threads = threads().min(tasks);
    if threads <= 1 || INSIDE.get() || pool.busy.swap(true, Ordering::Acquire) {
        for task in 0..tasks {
            f(task);
        }
        return;
    }
    pool.spawn_up_to(self::threads() - 1);
    let job = Job {
        run: &f,
        tasks,
        next: AtomicUsize::new(0),
        panic: Mutex::new(None),
    };
    pool.publish(&job);
    pool.busy.store(false, Ordering::Release);
    if let Some(payload) = job
        .panic
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        resume_unwind(payload);
    }
}

/// Splits `data` into chunks of `chunk` elements (the last may be shorter) and runs `f(index, chunk)` on each.
///
/// # Panics
/// When `chunk` is zero, or when a task does.
pub fn parallel_chunks_mut<T: Send>(
    data: &mut [T],
    chunk: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    assert!(chunk > 0, "parallel_chunks_mut: chunk must be at least 1");
    let len = data.len();
    let data = Disjoint::new(data);
    parallel_for(len.div_ceil(chunk), |index| {
        let start = index * chunk;
        // SAFETY: chunks of different tasks do not overlap.
        f(index, unsafe { data.slice(start, chunk.min(len - start)) });
    });
}

/// A mutable slice of which several tasks take parts that do not overlap.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    life: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `slice`, whose callers promise parts that do not overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            life: std::marker::PhantomData,
        }
    }

    /// The part `start..start + len`.
    ///
    /// # Safety
    /// No other live part may overlap this one.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises parts that do not overlap"
    )]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start <= self.len && len <= self.len - start,
            "part {start}+{len} of a slice of {}",
            self.len
        );
        // SAFETY: in bounds by the check above, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The first element, for kernels that write strided tiles.
    pub(crate) fn as_mut_ptr(&self) -> *mut T {
        self.start
    }
}
