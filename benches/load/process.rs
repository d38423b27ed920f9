//! What the kernel knows of a process: memory, processor time, descriptors. Linux's `/proc` only.
//!
//! Memory is read from `smaps_rollup`, which walks the page tables and is exact; `status` sums counters that
//! every core updates in batches and may be off by some hundred KiB, which is much where a session costs one.
//! Processor time comes from the scheduler's nanoseconds of each thread, or from the process's ticks
//! (10 ms, but they remember threads that have ended), whichever is more.

use std::path::Path;
use std::{fs, io};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// `/proc/PID/stat` counts in units of `USER_HZ`, which Linux fixes at 100 a second.
const TICK_NS: u64 = 10_000_000;

/// The memory of one or several processes, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident: what the budgets are about.
    pub(crate) rss_kib: u64,
    /// Resident, shared pages divided by the number of those who share them.
    pub(crate) pss_kib: u64,
    /// Resident and private to the heap and stacks: without the pages of the binary and its files.
    pub(crate) anon_kib: u64,
}

/// Memory of all of `pids` together.
pub(crate) fn memory(pids: &[u32]) -> io::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let one = memory_of(*pid)?;
        sum.rss_kib += one.rss_kib;
        sum.pss_kib += one.pss_kib;
        sum.anon_kib += one.anon_kib;
    }
    Ok(sum)
}

fn memory_of(pid: u32) -> io::Result<Memory> {
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        return Ok(Memory {
            rss_kib: field_kib(&rollup, "Rss:"),
            pss_kib: field_kib(&rollup, "Pss:"),
            anon_kib: field_kib(&rollup, "Anonymous:"),
        });
    }
    // Another user's process keeps its maps to itself; its status is public.
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss_kib = field_kib(&status, "VmRSS:");
    Ok(Memory { rss_kib, pss_kib: 0, anon_kib: field_kib(&status, "RssAnon:") })
}

/// Keeps the generator to the last processor, where there are several: what it measures has the others to itself, or
/// each would wait for the other's turn and call it latency.
pub(crate) fn take_a_processor() {
    let Some((last, _)) = shares() else { return };
    if let Err(error) = sched_setaffinity(None, &last) {
        eprintln!("the generator shares all processors: {error}");
    }
}

/// Gives a process all processors but the generator's. What it starts inherits that.
pub(crate) fn leave_the_others(pid: u32) {
    let Some((_, others)) = shares() else { return };
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for task in tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok()) {
        // A thread that has just ended needs none.
        let _gone = sched_setaffinity(Pid::from_raw(task), &others);
    }
}

/// How many processors there are for server and generator together.
pub(crate) fn processors() -> u64 {
    numbers().map_or(1, |numbers| numbers.len() as u64)
}

/// The processors that whoever started this program may use: it has taken one of them for itself.
fn numbers() -> Option<Vec<usize>> {
    let all = sched_getaffinity(Pid::from_raw(i32::try_from(std::os::unix::process::parent_id()).ok()?)).ok()?;
    Some((0..CpuSet::MAX_CPU).filter(|number| all.is_set(*number)).collect())
}

/// The last processor, and all others.
fn shares() -> Option<(CpuSet, CpuSet)> {
    let numbers = numbers()?;
    let (last, others) = numbers.split_last().filter(|(_, others)| !others.is_empty())?;
    let set = |numbers: &[usize]| {
        let mut set = CpuSet::new();
        numbers.iter().for_each(|number| set.set(*number));
        set
    };
    Some((set(&[*last]), set(others)))
}

/// What the kernel keeps for objects of its own, sockets among them, in the whole machine.
pub(crate) fn slab_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some(field_kib(&text, "Slab:")).filter(|kib| *kib > 0)
}

/// The number behind `name` at the start of a line, which is KiB for memory; zero when there is none.
fn field_kib(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time, user and system, of all threads of all of `pids` since they started, in nanoseconds.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| ticks_ns(*pid).max(threads_ns(*pid))).sum()
}

fn ticks_ns(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in parentheses and may hold anything; utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * TICK_NS
}

fn threads_ns(pid: u32) -> u64 {
    scheduled(pid, 0)
}

/// How long threads of `pids` were ready to run and had no core, in nanoseconds: much of it says that the machine had
/// other work.
pub(crate) fn waited_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| scheduled(*pid, 1)).sum()
}

/// A field of all threads' `schedstat`, added up.
fn scheduled(pid: u32, field: usize) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let paths = threads.flatten().map(|thread| thread.path().join("schedstat"));
    let times = paths.filter_map(|path| fs::read_to_string(path).ok());
    times.filter_map(|text| text.split_whitespace().nth(field)?.parse::<u64>().ok()).sum()
}

/// Processor time of the thread that asks, in nanoseconds; its latest milliseconds may be missing.
pub(crate) fn thread_cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Processor time of this process.
pub(crate) fn own_cpu_ns() -> u64 {
    cpu_ns(&[std::process::id()])
}

/// Whether the process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// Asks a child to end. One that has ended and was not waited for yet hears nothing.
pub(crate) fn ask_to_end(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It fails only where the child is gone.
    let _gone = pid.map(|pid| kill_process(pid, Signal::TERM));
}

/// This process's descriptor limit.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the descriptor limit as far as it may: to the hard limit, and where that is below `wanted`, which only root can
/// help, to that.
pub(crate) fn raise_descriptor_limit(wanted: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    let Some(most) = hard else { return raise_to(None) };
    let is_raised = most < wanted && setrlimit(Resource::Nofile, both(Some(wanted))).is_ok();
    if !is_raised {
        raise_to(Some(most));
    }
}

fn raise_to(most: Option<u64>) {
    if let Err(error) = setrlimit(Resource::Nofile, both(most)) {
        eprintln!("the descriptor limit stays at {}: {error}", descriptor_limit());
    }
}

fn both(limit: Option<u64>) -> Rlimit {
    Rlimit { current: limit, maximum: limit }
}

/// How far a process has read a file that it has open; zero when it has not.
pub(crate) fn read_so_far(pid: u32, file: &Path) -> u64 {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let is_it = |descriptor: &fs::DirEntry| fs::read_link(descriptor.path()).is_ok_and(|path| path == file);
    let number = descriptors.flatten().find(is_it).map(|descriptor| descriptor.file_name());
    let info =
        number.and_then(|number| fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(number)).ok());
    info.map_or(0, |info| field_kib(&info, "pos:"))
}

/// Open descriptors of a process.
pub(crate) fn descriptors_open(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
}

/// The first line of a file of the kernel, for the report's header.
pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The processor's name, for the report's header.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    line.trim_start_matches(['\t', ' ', ':']).to_owned()
}
