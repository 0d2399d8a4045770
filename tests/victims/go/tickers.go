// Eight goroutines with timers, in as many threads as there are processors and more: each counts, checks what it has in memory and allocates.
// argv[1] is the control directory (control.h): a question there is answered with what they counted.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
)

const workers = 8

var counts, wrong [workers]uint64

func work(n int) {
	ticker := time.NewTicker(time.Duration(2+n) * time.Millisecond)
	table := map[uint64][]byte{}
	var sum uint64
	if n < 2 {
		runtime.LockOSThread()
	}
	for step := uint64(1); ; step++ {
		<-ticker.C
		sum += step
		if sum != step*(step+1)/2 {
			atomic.AddUint64(&wrong[n], 1)
		}
		key := step % 64
		if old, there := table[key]; there && (len(old) != 4096 || old[step%4096] != byte(key)) {
			atomic.AddUint64(&wrong[n], 1)
		}
		page := make([]byte, 4096)
		for i := range page {
			page[i] = byte(key)
		}
		table[key] = page
		atomic.AddUint64(&counts[n], 1)
	}
}

func main() {
	for n := 0; n < workers; n++ {
		go work(n)
	}
	ask, answer := filepath.Join(os.Args[1], "ask"), filepath.Join(os.Args[1], "answer")
	for {
		time.Sleep(2 * time.Millisecond)
		if os.Remove(ask) != nil {
			continue
		}
		var sum, bad uint64
		for n := range counts {
			sum += atomic.LoadUint64(&counts[n])
			bad += atomic.LoadUint64(&wrong[n])
		}
		least := counts[0]
		for n := range counts {
			if now := atomic.LoadUint64(&counts[n]); now < least {
				least = now
			}
		}
		if file, err := os.OpenFile(answer, os.O_WRONLY, 0); err == nil {
			fmt.Fprintf(file, "{\"sum\": %d, \"least\": %d, \"wrong\": %d}\n", sum, least, bad)
			file.Close()
		}
	}
}
