// A file server: argv[1] is the control directory, whose files it serves on the loopback port argv[2]. A question is answered with "served".
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

var served uint64

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	files := http.FileServer(http.Dir(os.Args[1]))
	count := func(w http.ResponseWriter, r *http.Request) {
		atomic.AddUint64(&served, 1)
		w.Header().Set("Connection", "close")
		files.ServeHTTP(w, r)
	}
	go http.Serve(listener, http.HandlerFunc(count))
	ask, answer := filepath.Join(os.Args[1], "ask"), filepath.Join(os.Args[1], "answer")
	for {
		time.Sleep(2 * time.Millisecond)
		if os.Remove(ask) != nil {
			continue
		}
		if file, err := os.OpenFile(answer, os.O_WRONLY, 0); err == nil {
			fmt.Fprintf(file, "{\"served\": %d}\n", atomic.LoadUint64(&served))
			file.Close()
		}
	}
}
