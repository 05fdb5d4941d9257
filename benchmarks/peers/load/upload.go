package main

import (
	"encoding/xml"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

type part struct {
	PartNumber int
	ETag       string
}

// timedUpload sends one object in parts, as many at a time as there are clients: how an S3 client saves a large file.
func timedUpload(job *Job, clients []*Client) Result {
	before, started := processorSeconds(), time.Now()
	one := tally{}
	if one.err = upload(job, clients); one.err == nil {
		one.latencies = []int64{time.Since(started).Microseconds()}
		one.elapsed = time.Since(started)
	}
	return summary([]tally{one}, time.Since(started), processorSeconds()-before)
}

func upload(job *Job, clients []*Client) error {
	path := pathOf(job, keyOf(job, 0))
	answer, err := clients[0].exchange("POST", path, "uploads=", nil, nil)
	if err != nil {
		return err
	}
	if err := answer.expect("the new upload", 200); err != nil {
		return err
	}
	var begun struct{ UploadId string }
	if err := xml.Unmarshal(answer.body, &begun); err != nil {
		return err
	}
	parts, err := uploadParts(job, clients, path, begun.UploadId)
	if err != nil {
		return err
	}
	list, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}{Part: parts})
	if err != nil {
		return err
	}
	answer, err = clients[0].exchange("POST", path, "uploadId="+escaped(begun.UploadId), list, nil)
	if err != nil {
		return err
	}
	return answer.expect("completing the upload", 200)
}

func uploadParts(job *Job, clients []*Client, path, id string) ([]part, error) {
	count := (job.Size + job.PartSize - 1) / job.PartSize
	parts := make([]part, count)
	errs := make([]error, len(clients))
	var next atomic.Int64
	var done sync.WaitGroup
	for number, client := range clients {
		done.Add(1)
		go func(client *Client, failure *error) {
			defer done.Done()
			for turn := int(next.Add(1)) - 1; turn < count && *failure == nil; turn = int(next.Add(1)) - 1 {
				parts[turn], *failure = uploadPart(job, client, path, id, turn)
			}
		}(client, &errs[number])
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func uploadPart(job *Job, client *Client, path, id string, turn int) (part, error) {
	piece := *job
	piece.Size = min(job.PartSize, job.Size-turn*job.PartSize)
	query := fmt.Sprintf("partNumber=%d&uploadId=%s", turn+1, escaped(id))
	content := client.fill(&piece, fmt.Sprintf("%s part %d", keyOf(job, 0), turn))
	answer, err := client.exchange("PUT", path, query, content, nil)
	if err != nil {
		return part{}, err
	}
	if err := answer.expect("a part", 200); err != nil {
		return part{}, err
	}
	return part{turn + 1, answer.header.Get("ETag")}, nil
}
