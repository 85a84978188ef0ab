// HTTP hello by net/http, which parses all of a head.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
)

var body = []byte("Hello, world!\n")

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
	http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header()["Content-Type"] = []string{"text/plain"}
		answer.Header()["Content-Length"] = []string{"14"}
		answer.Write(body)
	}))
}
