// A relay with two goroutines for each pair. io.Copy between TCP connections splices.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
)

func carry(to, from *net.TCPConn, done chan<- bool) {
	_, err := io.Copy(to, from)
	if err == nil {
		to.CloseWrite()
	} else {
		to.Close()
		from.Close()
	}
	done <- true
}

func serve(client *net.TCPConn, upstream string) {
	defer client.Close()
	connection, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	out := connection.(*net.TCPConn)
	defer out.Close()
	done := make(chan bool, 2)
	go carry(out, client, done)
	carry(client, out, done)
	<-done
	<-done
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "")
	upstream := flag.String("upstream", "", "")
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
		go serve(connection.(*net.TCPConn), *upstream)
	}
}
