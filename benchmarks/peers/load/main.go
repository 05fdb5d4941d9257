// A load generator for S3 servers that costs little processor time itself.
//
// It reads one job as a line of JSON, connects every client, writes "ready", waits for a line "go", does the job, and
// writes one line of JSON with what it measured. The pause between the two lines lets the caller read the servers'
// processor time with the TLS handshakes already done. generator.py in this folder does the same without Go.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Job is what one run does. Keys are Prefix and a number; their contents follow from Seed and the key alone.
type Job struct {
	Operation string   `json:"operation"`
	Endpoints []string `json:"endpoints"` // client i uses number i modulo their count
	CAFile    string   `json:"ca_file"`
	AccessKey string   `json:"access_key"`
	SecretKey string   `json:"secret_key"`
	Region    string   `json:"region"`
	APIKey    string   `json:"api_key"` // for locks, which are no part of S3
	Bucket    string   `json:"bucket"`
	Prefix    string   `json:"prefix"`
	Seed      string   `json:"seed"`
	Size      int      `json:"size"`
	PartSize  int      `json:"part_size"`
	Keys      int64    `json:"keys"` // how many keys there are to read, list or delete
	Clients   int      `json:"clients"`
	Seconds   float64  `json:"seconds"`
	Limit     int64    `json:"limit"` // operations at most; 0 means as many as the seconds allow
}

// Result is what one run measured. Rate is the sum of the clients' own rates, so that a client which ends early does
// not count as an idle one.
type Result struct {
	Operations       int64   `json:"operations"`
	Rate             float64 `json:"rate"`
	ElapsedSeconds   float64 `json:"elapsed_seconds"`
	ProcessorSeconds float64 `json:"processor_seconds"`
	LatenciesUs      []int64 `json:"latencies_us"`
	Error            string  `json:"error"`
}

// tally is what one client did.
type tally struct {
	latencies []int64
	elapsed   time.Duration
	err       error
}

func main() {
	input := bufio.NewReader(os.Stdin)
	var job Job
	if line, err := input.ReadBytes('\n'); err != nil {
		fail(err)
	} else if err := json.Unmarshal(line, &job); err != nil {
		fail(err)
	}
	clients := make([]*Client, job.Clients)
	for number := range clients {
		client, err := NewClient(&job, job.Endpoints[number%len(job.Endpoints)])
		if err != nil {
			fail(err)
		}
		clients[number] = client
	}
	fmt.Println("ready")
	if _, err := input.ReadBytes('\n'); err != nil {
		fail(err)
	}
	result := run(&job, clients)
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func run(job *Job, clients []*Client) Result {
	if job.Operation == "upload" {
		return timedUpload(job, clients)
	}
	work, known := operations[job.Operation]
	if !known {
		return Result{Error: "unknown operation " + job.Operation}
	}
	tallies := make([]tally, len(clients))
	var next atomic.Int64
	var done sync.WaitGroup
	before, started := processorSeconds(), time.Now()
	deadline := started.Add(time.Duration(job.Seconds * float64(time.Second)))
	for number, client := range clients {
		done.Add(1)
		go func(client *Client, mine *tally) {
			defer done.Done()
			for time.Now().Before(deadline) {
				turn := next.Add(1) - 1
				if job.Limit > 0 && turn >= job.Limit {
					break
				}
				from := time.Now()
				if mine.err = work(client, job, turn); mine.err != nil {
					break
				}
				mine.latencies = append(mine.latencies, time.Since(from).Microseconds())
				mine.elapsed = time.Since(started)
			}
		}(client, &tallies[number])
	}
	done.Wait()
	return summary(tallies, time.Since(started), processorSeconds()-before)
}

func summary(tallies []tally, elapsed time.Duration, processor float64) Result {
	result := Result{ElapsedSeconds: elapsed.Seconds(), ProcessorSeconds: processor, LatenciesUs: []int64{}}
	for _, one := range tallies {
		count := int64(len(one.latencies))
		result.Operations += count
		result.LatenciesUs = append(result.LatenciesUs, one.latencies...)
		if count > 0 {
			result.Rate += float64(count) / one.elapsed.Seconds()
		}
		if one.err != nil && result.Error == "" {
			result.Error = one.err.Error()
		}
	}
	return result
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}
