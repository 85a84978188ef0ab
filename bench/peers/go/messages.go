// The workloads of bench/sluice/README.md in Go: an actor is a goroutine with a buffered channel.
//
//	go build -o messages bench/peers/go/messages.go
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// 64 bytes: each word is a constant of its place, xor the number.
type message struct {
	number uint64
	words  [7]uint64
}

var words = [7]uint64{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93,
	0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3}

func makeMessage(number uint64) message {
	m := message{number: number}
	for i := range m.words {
		m.words[i] = words[i] ^ number
	}
	return m
}

func fail(what string, found, wanted uint64) {
	fmt.Fprintf(os.Stderr, "%s: found %d, wanted %d\n", what, found, wanted)
	os.Exit(1)
}

func expect(m *message, number uint64) {
	var differing uint64
	for i := range m.words {
		differing |= m.words[i] ^ words[i] ^ number
	}
	if m.number != number || differing != 0 {
		fail("a message's number, or its other bits", m.number, number)
	}
}

// About a microsecond of work.
func chew(m *message) uint64 {
	chewed := m.number
	for round := 0; round < 80; round++ {
		for _, word := range m.words {
			chewed = (chewed ^ word) * 0x2545f4914f6cdd1d
		}
	}
	return chewed
}

const senderShift = 56

// The clocks of the operations after the warm-up.
type watch struct {
	operations, warmUp, counted, mark int64
	wall                              time.Time
	wallSeconds                       float64
	processor, processorSeconds       float64
	last                              time.Time
	laps                              []uint32
	over                              bool
	done                              chan struct{}
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func wholeSteps(operations, step int64) int64 {
	steps := (operations + step - 1) / step
	if steps < 1 {
		steps = 1
	}
	return steps * step
}

func newWatch(operations, step int64) *watch {
	w := &watch{operations: wholeSteps(operations, step), warmUp: wholeSteps(operations/10, step), done: make(chan struct{})}
	w.mark = w.warmUp
	return w
}

func (w *watch) total() int64 { return w.warmUp + w.operations }

// False: that was the last operation.
func (w *watch) count(more int64) bool {
	w.counted += more
	return w.counted < w.mark || w.reached()
}

func (w *watch) reached() bool {
	if w.over {
		return false
	}
	processor, wall := processorSeconds(), time.Now()
	if w.mark == w.warmUp {
		w.mark, w.wall, w.processor = w.total(), wall, processor
		return true
	}
	w.wallSeconds, w.processorSeconds, w.over = wall.Sub(w.wall).Seconds(), processor-w.processor, true
	close(w.done)
	return false
}

func (w *watch) lap() bool {
	now := time.Now()
	if !w.last.IsZero() {
		w.laps = append(w.laps, uint32(now.Sub(w.last)))
	}
	more := w.count(1)
	if w.counted >= w.warmUp {
		w.last = now
	}
	return more
}

func statusBytes(name string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name) {
			kilobytes, _ := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
			return kilobytes * 1024
		}
	}
	return 0
}

func (w *watch) print(workload string, bytesEach int64) {
	fmt.Printf(`{"workload":"%s","operations":%d,"wall_seconds":%.9f,"processor_seconds":%.9f,"peak_bytes":%d`,
		workload, w.operations, w.wallSeconds, w.processorSeconds, statusBytes("VmHWM:"))
	if bytesEach >= 0 {
		fmt.Printf(`,"bytes_each":%d`, bytesEach)
	}
	if len(w.laps) > 0 {
		sort.Slice(w.laps, func(i, j int) bool { return w.laps[i] < w.laps[j] })
		part := func(p float64) uint32 { return w.laps[int(math.Floor(p*float64(len(w.laps)-1)))] }
		fmt.Printf(`,"latency_ns":{"p50":%d,"p99":%d,"p999":%d}`, part(0.5), part(0.99), part(0.999))
	}
	fmt.Println("}")
}

type run struct {
	workload   string
	operations int64
	workers    int
}

const mailbox = 256

var chewedAll uint64 // Read by nobody; the compiler does not know.

func oneWay(r run, senders int, slow bool) {
	w := newWatch(r.operations, int64(senders))
	mail := make(chan message, mailbox)
	each := uint64(w.total()) / uint64(senders)
	for s := 0; s < senders; s++ {
		go func(first uint64) {
			for number := first; number < first+each; number++ {
				mail <- makeMessage(number)
			}
		}(uint64(s) << senderShift)
	}
	go func() {
		var next [4]uint64
		for s := range next {
			next[s] = uint64(s) << senderShift
		}
		for m := range mail {
			sender := m.number >> senderShift & 3
			expect(&m, next[sender])
			next[sender]++
			if slow {
				chewedAll ^= chew(&m)
			}
			if !w.count(1) {
				return
			}
		}
	}()
	<-w.done
	w.print(r.workload, -1)
}

// A message goes round the nodes; the first one counts.
func circle(r run, w *watch, nodes uint64, counted int64, latency bool) {
	mail := make([]chan message, nodes)
	for i := range mail {
		mail[i] = make(chan message, 1)
	}
	for i := range mail {
		go func(number uint64, mine, next chan message) {
			counts := number == 0
			for m := range mine {
				expect(&m, number)
				number += nodes
				if counts && number > nodes {
					more := false
					if latency {
						more = w.lap()
					} else {
						more = w.count(counted)
					}
					if !more {
						return
					}
				}
				next <- makeMessage(m.number + 1)
			}
		}(uint64(i), mail[i], mail[(i+1)%len(mail)])
	}
	mail[0] <- makeMessage(0)
	<-w.done
	w.print(r.workload, -1)
}

func pingPong(r run) {
	w := newWatch(r.operations, 1)
	if r.workers > 1 {
		w.laps = make([]uint32, 0, w.operations)
	}
	circle(r, w, 2, 1, r.workers > 1)
}

func ring(r run) { circle(r, newWatch(r.operations, 1000), 1000, 1000, false) }

func forkJoin(r run) {
	const tasks = 64
	w := newWatch(r.operations, tasks)
	answers := make(chan message, mailbox)
	var helpers [tasks]chan message
	for i := range helpers {
		helpers[i] = make(chan message, 1)
		go func(number uint64, mine chan message) {
			for m := range mine {
				expect(&m, number)
				number += tasks
				answers <- makeMessage(m.number)
			}
		}(uint64(i), helpers[i])
	}
	go func() {
		for round := uint64(0); ; round++ {
			for i := range helpers {
				helpers[i] <- makeMessage(round*tasks + uint64(i))
			}
			answered := uint64(0)
			for answered != math.MaxUint64 {
				m := <-answers
				expect(&m, m.number)
				if helper := uint64(1) << (m.number % tasks); m.number/tasks == round && answered&helper == 0 {
					answered |= helper
				} else {
					fail("the round of an answer", m.number/tasks, round)
				}
			}
			if !w.count(tasks) {
				return
			}
		}
	}()
	<-w.done
	w.print(r.workload, -1)
}

const (
	batch      = 64
	batchesMax = 4
)

func create(r run) {
	w := newWatch(r.operations, batch)
	go func() {
		ended := make(chan *int32, batchesMax)
		number := uint64(0)
		begin := func(left *int32) {
			atomic.StoreInt32(left, batch)
			for i := 0; i < batch; i++ {
				number++
				mail := make(chan message, 1)
				go func(mine chan message, number uint64) {
					m := <-mine
					expect(&m, number)
					if atomic.AddInt32(left, -1) == 0 {
						ended <- left
					}
				}(mail, number)
				mail <- makeMessage(number)
			}
		}
		for i := 0; i < batchesMax; i++ {
			begin(new(int32))
		}
		for left := range ended {
			if !w.count(batch) {
				return
			}
			begin(left)
		}
	}()
	<-w.done
	w.print(r.workload, -1)
}

func idle(r run) {
	w := newWatch(r.operations, 1)
	before := statusBytes("VmRSS:")
	counted := make(chan struct{}, mailbox)
	all := make([]chan message, 0, w.total())
	for number := uint64(0); int64(number) < w.total(); number++ {
		mail := make(chan message, 1)
		all = append(all, mail)
		go func(mine chan message, number uint64) {
			for m := range mine {
				expect(&m, number)
				counted <- struct{}{}
			}
		}(mail, number)
		mail <- makeMessage(number)
		<-counted
		w.count(1)
	}
	<-w.done
	w.print(r.workload, (statusBytes("VmRSS:")-before)/w.total())
	runtime.KeepAlive(all)
}

var workloads = []struct {
	name    string
	measure func(run)
}{
	{"message", func(r run) { oneWay(r, 1, false) }},
	{"ping_pong", pingPong},
	{"one_producer", func(r run) { oneWay(r, 1, false) }},
	{"four_producers", func(r run) { oneWay(r, 4, false) }},
	{"ring", ring},
	{"fork_join", forkJoin},
	{"create", create},
	{"idle", idle},
	{"flood", func(r run) { oneWay(r, 1, true) }},
}

func main() {
	r := run{operations: 1000000, workers: 1}
	for _, argument := range os.Args[1:] {
		flag, value, _ := strings.Cut(argument, "=")
		switch flag {
		case "--list":
			for _, workload := range workloads {
				fmt.Println(workload.name)
			}
			return
		case "--workload":
			r.workload = value
		case "--operations":
			r.operations, _ = strconv.ParseInt(value, 10, 64)
		case "--workers":
			r.workers, _ = strconv.Atoi(value)
		default:
			fmt.Fprintln(os.Stderr, "unknown argument:", argument)
			os.Exit(2)
		}
	}
	runtime.GOMAXPROCS(r.workers)
	for _, workload := range workloads {
		if workload.name == r.workload {
			workload.measure(r)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "unknown workload (--list prints all):", r.workload)
	os.Exit(2)
}
