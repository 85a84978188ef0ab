// What bench/program is for C++: the message, its check, the clocks, and the line of JSON.
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub number: u64,
    pub words: [u64; 7], // Each is a constant of its place, xor the number.
}

const WORDS: [u64; 7] = [
    0x9e3779b97f4a7c15,
    0xbf58476d1ce4e5b9,
    0x94d049bb133111eb,
    0xd6e8feb86659fd93,
    0xa0761d6478bd642f,
    0xe7037ed1a0b428db,
    0x8ebc6af09c88c6e3,
];

pub fn make_message(number: u64) -> Message {
    Message { number, words: WORDS.map(|word| word ^ number) }
}

#[cold]
pub fn fail(what: &str, found: u64, wanted: u64) -> ! {
    eprintln!("{what}: found {found}, wanted {wanted}");
    std::process::exit(1);
}

pub fn expect(message: &Message, number: u64) {
    let mut differing = message.number ^ number;
    for (word, constant) in message.words.iter().zip(WORDS) {
        differing |= word ^ constant ^ number;
    }
    if differing != 0 {
        fail("a message's number, or its other bits", message.number, number);
    }
}

fn processor_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

// A figure of /proc/self/status in bytes.
pub fn measured_bytes(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
}

fn whole_steps(operations: i64, step: i64) -> i64 {
    std::cmp::max(1, (operations + step - 1) / step) * step
}

// Counts operations, and measures those after the warm-up.
pub struct Watch {
    operations: i64,
    warm_up: i64,
    counted: i64,
    mark: i64,
    wall: Instant,
    wall_seconds: f64,
    processor: f64,
    last: Option<Instant>,
    laps: Vec<u32>,
    over: bool,
}

impl Watch {
    pub fn new(operations: i64, step: i64) -> Watch {
        let warm_up = whole_steps(operations / 10, step);
        Watch {
            operations: whole_steps(operations, step),
            warm_up,
            counted: 0,
            mark: warm_up,
            wall: Instant::now(),
            wall_seconds: 0.0,
            processor: 0.0,
            last: None,
            laps: Vec::new(),
            over: false,
        }
    }
    pub fn keep_laps(&mut self) {
        self.laps.reserve(self.operations as usize);
    }
    pub fn total(&self) -> i64 {
        self.warm_up + self.operations
    }
    // False: that was the last operation, or it came before.
    #[inline]
    pub fn count(&mut self, more: i64) -> bool {
        self.counted += more;
        self.counted < self.mark || self.reached()
    }
    pub fn lap(&mut self) -> bool {
        let now = Instant::now();
        if let Some(last) = self.last {
            self.laps.push((now - last).as_nanos() as u32);
        }
        let more = self.count(1);
        if self.counted >= self.warm_up {
            self.last = Some(now);
        }
        more
    }
    #[cold]
    fn reached(&mut self) -> bool {
        if self.over {
            return false;
        }
        let (processor, wall) = (processor_seconds(), Instant::now());
        if self.mark == self.warm_up {
            (self.mark, self.wall, self.processor) = (self.total(), wall, processor);
            return true;
        }
        self.wall_seconds = (wall - self.wall).as_secs_f64();
        self.processor = processor - self.processor;
        self.over = true;
        false
    }
    pub fn print(&mut self, workload: &str, bytes_each: Option<i64>) {
        print!(
            "{{\"workload\":\"{}\",\"operations\":{},\"wall_seconds\":{:.9},\"processor_seconds\":{:.9},\"peak_bytes\":{}",
            workload,
            self.operations,
            self.wall_seconds,
            self.processor,
            measured_bytes("VmHWM:")
        );
        if let Some(bytes) = bytes_each {
            print!(",\"bytes_each\":{bytes}");
        }
        if !self.laps.is_empty() {
            self.laps.sort_unstable();
            let part = |p: f64| self.laps[(p * (self.laps.len() - 1) as f64) as usize];
            print!(
                ",\"latency_ns\":{{\"p50\":{},\"p99\":{},\"p999\":{}}}",
                part(0.5),
                part(0.99),
                part(0.999)
            );
        }
        println!("}}");
    }
}
