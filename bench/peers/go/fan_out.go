// Fan-out, with the protocol of bench/servers/fan_out.cc: each subscriber has a channel and a
// goroutine, which writes all that waits at once. A full channel makes the publisher wait.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
)

const (
	frameBytes = 64
	queueMax   = 256
)

var (
	lock        sync.RWMutex
	subscribers = map[chan []byte]bool{}
)

func write(connection net.Conn, queue chan []byte, ended <-chan bool) {
	output := bufio.NewWriterSize(connection, 64*1024)
	failed := false
	for {
		var frame []byte
		select {
		case frame = <-queue:
		case <-ended:
			return
		}
		for frame != nil {
			if !failed {
				_, err := output.Write(frame)
				failed = err != nil
			}
			select {
			case frame = <-queue:
			default:
				frame = nil
			}
		}
		if !failed {
			failed = output.Flush() != nil
		}
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	input := bufio.NewReaderSize(connection, 64*1024)
	var queue chan []byte
	ended := make(chan bool)
	defer func() {
		// The writer goes on emptying the queue until no publisher can wait for it.
		lock.Lock()
		delete(subscribers, queue)
		lock.Unlock()
		close(ended)
	}()
	for {
		frame := make([]byte, frameBytes)
		if _, err := io.ReadFull(input, frame); err != nil {
			return
		}
		if frame[0] == 'S' {
			queue = make(chan []byte, queueMax)
			go write(connection, queue, ended)
			lock.Lock()
			queue <- frame
			subscribers[queue] = true
			lock.Unlock()
			continue
		}
		lock.RLock()
		for subscriber := range subscribers {
			subscriber <- frame
		}
		lock.RUnlock()
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "")
	workers := flag.Int("workers", 1, "")
	flag.Parse()
	runtime.GOMAXPROCS(*workers)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(connection)
	}
}
