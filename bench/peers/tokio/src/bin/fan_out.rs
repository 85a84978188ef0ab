// Fan-out, with the protocol of bench/servers/fan_out.cc, on one thread: each subscriber has a
// bounded channel and a task, which writes all that waits at once.
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{channel, Receiver, Sender};

const QUEUE_MAX: usize = 256;
type Frame = [u8; 64];
type Subscribers = Rc<RefCell<Vec<Sender<Rc<Frame>>>>>;

async fn write(mut output: OwnedWriteHalf, mut queue: Receiver<Rc<Frame>>) {
    let mut bytes = Vec::with_capacity(QUEUE_MAX * 64);
    while let Some(frame) = queue.recv().await {
        bytes.clear();
        bytes.extend_from_slice(&*frame);
        while let Ok(more) = queue.try_recv() {
            bytes.extend_from_slice(&*more);
        }
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn serve(connection: TcpStream, subscribers: Subscribers) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let (input, output) = connection.into_split();
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut output = Some(output);
    loop {
        let mut frame = [0u8; 64];
        input.read_exact(&mut frame).await?;
        let frame = Rc::new(frame);
        if frame[0] != b'S' {
            let all = subscribers.borrow().clone();
            for subscriber in &all {
                // A full queue makes the publisher wait; one that has ended is skipped.
                if subscriber.try_send(frame.clone()).is_err() {
                    let _ = subscriber.send(frame.clone()).await;
                }
            }
        } else if let Some(output) = output.take() {
            let (sender, queue) = channel(QUEUE_MAX);
            let _ = sender.send(frame).await;
            subscribers.borrow_mut().push(sender);
            tokio::task::spawn_local(write(output, queue));
        }
    }
}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let subscribers = Subscribers::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (connection, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(connection, subscribers.clone()));
        }
    })
}
