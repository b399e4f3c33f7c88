use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernels::pool::{parallel_chunks_mut, parallel_for};

#[test]
fn every_task_runs_once() {
    for tasks in [0, 1, 2, 3, 7, 100, 10_000] {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        parallel_for(tasks, |i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(
            counts
                .iter()
                .all(|count| count.load(Ordering::Relaxed) == 1)
        );
    }
}

#[test]
fn chunks_cover_the_slice() {
    let mut data = vec![0; 1003];
    parallel_chunks_mut(&mut data, 10, |i, chunk| chunk.fill(i));
    assert!(data.iter().enumerate().all(|(i, &value)| value == i / 10));
}

#[test]
fn nested_calls_and_callers_from_several_threads_finish() {
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    parallel_for(4, |_| {
                        parallel_for(3, |_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 4 * 500 * 12);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    for _ in 0..50 {
        let outcome = catch_unwind(|| parallel_for(64, |i| assert!(i != 40, "task forty")));
        let payload = outcome.expect_err("the panic is passed on");
        assert!(
            payload
                .downcast_ref::<&str>()
                .is_some_and(|text| text.contains("task forty"))
        );
        every_task_runs_once();
    }
}

#[test]
fn helpers_that_parked_wake_up() {
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(2));
        every_task_runs_once();
    }
}
