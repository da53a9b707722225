// A checker as most Go programs have one: a goroutine and a ticker for each target, a connection for each check.
//
//	checker tcp|http PORT INTERVAL_MS TARGETS
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

var failed atomic.Uint64

func main() {
	kind := os.Args[1]
	port, _ := strconv.Atoi(os.Args[2])
	millis, _ := strconv.Atoi(os.Args[3])
	targets, _ := strconv.Atoi(os.Args[4])
	interval := time.Duration(millis) * time.Millisecond
	for index := 0; index < targets; index++ {
		octets := 0x7f000100 + index
		ip := net.IPv4(byte(octets>>24), byte(octets>>16), byte(octets>>8), byte(octets))
		address := fmt.Sprintf("%s:%d", ip, port)
		phase := interval * time.Duration(index) / time.Duration(targets)
		go watch(kind, address, interval, phase)
	}
	select {}
}

func watch(kind, address string, interval, phase time.Duration) {
	time.Sleep(phase)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: interval}
	for range time.NewTicker(interval).C {
		if !check(kind, address, interval, client) {
			failed.Add(1)
		}
	}
}

func check(kind, address string, timeout time.Duration, client *http.Client) bool {
	if kind == "tcp" {
		connection, err := net.DialTimeout("tcp", address, timeout)
		if err != nil {
			return false
		}
		connection.(*net.TCPConn).SetLinger(0)
		connection.Close()
		return true
	}
	request, _ := http.NewRequestWithContext(context.Background(), "GET", "http://"+address+"/", nil)
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 65536))
	return response.StatusCode/100 == 2
}
