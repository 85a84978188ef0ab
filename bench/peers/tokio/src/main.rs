// The workloads of bench/sluice/README.md in tokio: an actor is a task with a bounded channel.
//
//   RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=OUT /usr/bin/cargo build --release --offline
mod measure;

use measure::{expect, fail, make_message, measured_bytes, Message, Watch};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{channel, Receiver, Sender};

const MAILBOX: usize = 256;
const SENDER_SHIFT: u32 = 56;
const TASKS: u64 = 64;
const BATCH: i32 = 64;
const BATCHES_MAX: usize = 4;

struct Run {
    workload: String,
    operations: i64,
    workers: usize,
}

// One worker: the scheduler without threads, which is tokio's fastest.
fn runtime(run: &Run) -> Runtime {
    if run.workers == 1 {
        Builder::new_current_thread().build().unwrap()
    } else {
        Builder::new_multi_thread().worker_threads(run.workers).build().unwrap()
    }
}

// About a microsecond of work.
fn chew(message: &Message) -> u64 {
    let mut chewed = message.number;
    for _ in 0..80 {
        for word in message.words {
            chewed = (chewed ^ word).wrapping_mul(0x2545f4914f6cdd1d);
        }
    }
    chewed
}

static CHEWED: AtomicU64 = AtomicU64::new(0);

async fn receive(mut mail: Receiver<Message>, mut watch: Watch, slow: bool) -> Watch {
    let mut next: Vec<u64> = (0..4).map(|sender| sender << SENDER_SHIFT).collect();
    while let Some(message) = mail.recv().await {
        let sender = (message.number >> SENDER_SHIFT & 3) as usize;
        expect(&message, next[sender]);
        next[sender] += 1;
        if slow {
            CHEWED.fetch_xor(chew(&message), Ordering::Relaxed);
        }
        if !watch.count(1) {
            break;
        }
    }
    watch
}

async fn one_way(run: Run, senders: u64, slow: bool) {
    let watch = Watch::new(run.operations, senders as i64);
    let each = watch.total() as u64 / senders;
    let (sender, mail) = channel(MAILBOX);
    for number in 0..senders {
        let (to, first) = (sender.clone(), number << SENDER_SHIFT);
        tokio::spawn(async move {
            for number in first..first + each {
                to.send(make_message(number)).await.ok();
            }
        });
    }
    drop(sender);
    tokio::spawn(receive(mail, watch, slow)).await.unwrap().print(&run.workload, None);
}

// The first node counts, and returns its watch.
async fn node(
    mut mail: Receiver<Message>,
    next: Sender<Message>,
    mut number: u64,
    nodes: u64,
    mut watch: Option<Watch>,
    counted: i64,
    latency: bool,
) -> Option<Watch> {
    while let Some(message) = mail.recv().await {
        expect(&message, number);
        number += nodes;
        if let Some(watch) = watch.as_mut().filter(|_| number > nodes) {
            let more = if latency { watch.lap() } else { watch.count(counted) };
            if !more {
                break;
            }
        }
        if next.send(make_message(message.number + 1)).await.is_err() {
            break;
        }
    }
    watch
}

async fn circle(run: Run, watch: Watch, nodes: u64, counted: i64, latency: bool) {
    let (senders, mails): (Vec<_>, Vec<_>) = (0..nodes).map(|_| channel(1)).unzip();
    senders[0].send(make_message(0)).await.unwrap();
    let mut watch = Some(watch);
    let mut first = None;
    for (number, mail) in mails.into_iter().enumerate() {
        let next = senders[(number + 1) % senders.len()].clone();
        let task = node(mail, next, number as u64, nodes, watch.take(), counted, latency);
        first.get_or_insert(tokio::spawn(task));
    }
    first.unwrap().await.unwrap().unwrap().print(&run.workload, None);
}

async fn ping_pong(run: Run) {
    let mut watch = Watch::new(run.operations, 1);
    let latency = run.workers > 1;
    if latency {
        watch.keep_laps();
    }
    circle(run, watch, 2, 1, latency).await;
}

async fn helper(mut mail: Receiver<Message>, master: Sender<Message>, mut number: u64) {
    while let Some(task) = mail.recv().await {
        expect(&task, number);
        number += TASKS;
        if master.send(make_message(task.number)).await.is_err() {
            return;
        }
    }
}

async fn master(mut watch: Watch) -> Watch {
    let (answer_to, mut answers) = channel(MAILBOX);
    let mut helpers = Vec::new();
    for number in 0..TASKS {
        let (to, mail) = channel(1);
        helpers.push(to);
        tokio::spawn(helper(mail, answer_to.clone(), number));
    }
    for round in 0.. {
        for (number, to) in helpers.iter().enumerate() {
            to.send(make_message(round * TASKS + number as u64)).await.ok();
        }
        let mut answered = 0;
        while answered != u64::MAX {
            let answer: Message = answers.recv().await.unwrap();
            expect(&answer, answer.number);
            let helper = 1 << (answer.number % TASKS);
            if answer.number / TASKS != round || answered & helper != 0 {
                fail("the round of an answer", answer.number / TASKS, round);
            }
            answered |= helper;
        }
        if !watch.count(TASKS as i64) {
            break;
        }
    }
    watch
}

async fn fork_join(run: Run) {
    let watch = Watch::new(run.operations, TASKS as i64);
    tokio::spawn(master(watch)).await.unwrap().print(&run.workload, None);
}

async fn short(mut mail: Receiver<Message>, number: u64, left: Arc<AtomicI32>, ended: Sender<()>) {
    expect(&mail.recv().await.unwrap(), number);
    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
        ended.send(()).await.ok();
    }
}

async fn creator(mut watch: Watch) -> Watch {
    let (ended, mut batches) = channel(BATCHES_MAX);
    for _ in 0..BATCHES_MAX {
        ended.send(()).await.ok();
    }
    let (mut number, mut begun) = (0, 0);
    while batches.recv().await.is_some() {
        begun += 1;
        if begun > BATCHES_MAX && !watch.count(BATCH as i64) {
            break;
        }
        let left = Arc::new(AtomicI32::new(BATCH));
        for _ in 0..BATCH {
            number += 1;
            let (to, mail) = channel(1);
            tokio::spawn(short(mail, number, left.clone(), ended.clone()));
            to.send(make_message(number)).await.ok();
        }
    }
    watch
}

async fn create(run: Run) {
    let watch = Watch::new(run.operations, BATCH as i64);
    tokio::spawn(creator(watch)).await.unwrap().print(&run.workload, None);
}

async fn idle(run: Run) {
    let mut watch = Watch::new(run.operations, 1);
    let before = measured_bytes("VmRSS:");
    let (counted, mut counts) = channel(MAILBOX);
    let mut all = Vec::with_capacity(watch.total() as usize);
    for number in 0..watch.total() as u64 {
        let (to, mut mail): (Sender<Message>, Receiver<Message>) = channel(1);
        let counted = counted.clone();
        tokio::spawn(async move {
            while let Some(message) = mail.recv().await {
                expect(&message, number);
                counted.send(()).await.ok();
            }
        });
        to.send(make_message(number)).await.ok();
        all.push(to);
        counts.recv().await;
        watch.count(1);
    }
    let bytes = (measured_bytes("VmRSS:") - before) / watch.total();
    watch.print(&run.workload, Some(bytes));
}

const WORKLOADS: [&str; 9] = [
    "message",
    "ping_pong",
    "one_producer",
    "four_producers",
    "ring",
    "fork_join",
    "create",
    "idle",
    "flood",
];

async fn measure(run: Run) {
    match run.workload.as_str() {
        "message" | "one_producer" => one_way(run, 1, false).await,
        "four_producers" => one_way(run, 4, false).await,
        "flood" => one_way(run, 1, true).await,
        "ping_pong" => ping_pong(run).await,
        "ring" => {
            let watch = Watch::new(run.operations, 1000);
            circle(run, watch, 1000, 1000, false).await
        }
        "fork_join" => fork_join(run).await,
        "create" => create(run).await,
        "idle" => idle(run).await,
        _ => {
            eprintln!("unknown workload (--list prints all): {}", run.workload);
            std::process::exit(2);
        }
    }
}

fn main() {
    let mut run = Run { workload: String::new(), operations: 1_000_000, workers: 1 };
    for argument in std::env::args().skip(1) {
        let (flag, value) = argument.split_once('=').unwrap_or((&argument, ""));
        match flag {
            "--list" => {
                println!("{}", WORKLOADS.join("\n"));
                return;
            }
            "--workload" => run.workload = value.to_string(),
            "--operations" => run.operations = value.parse().unwrap(),
            "--workers" => run.workers = value.parse().unwrap(),
            _ => {
                eprintln!("unknown argument: {argument}");
                std::process::exit(2);
            }
        }
    }
    let runtime = runtime(&run);
    runtime.block_on(measure(run));
    runtime.shutdown_background();
}
