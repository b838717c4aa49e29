package decisionlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// chunks is how many full chunks may wait while the service is away; the oldest
// goes when there is one more.
const chunks = 32

// lastTry bounds what is tried at the end.
const lastTry = 2 * time.Second

// poster collects lines into chunks and posts them, in a goroutine of its own,
// so that a service that is slow does not hold up the file.
type poster struct {
	l     *Log
	lines chan []byte
	done  chan struct{}
}

// chunk is a JSON array of decisions.
type chunk struct {
	body  []byte
	count uint64
}

func newPoster(ctx context.Context, l *Log) *poster {
	p := &poster{l: l, lines: make(chan []byte, 1024), done: make(chan struct{})}
	go p.run(ctx)
	return p
}

func (p *poster) put(line []byte) {
	select {
	case p.lines <- line:
	default:
		p.l.droppedPost.Add(1)
	}
}

func (p *poster) finish() {
	close(p.lines)
	<-p.done
}

func (p *poster) run(ctx context.Context) {
	defer close(p.done)
	var open chunk
	var full []chunk
	seal := func() {
		if open.count == 0 {
			return
		}
		full = append(full, chunk{append(open.body, ']'), open.count})
		open = chunk{}
		if len(full) > chunks {
			p.l.droppedPost.Add(full[0].count)
			full = full[1:]
		}
	}
	wait, tick := time.Duration(0), time.NewTimer(p.l.o.MaxDelay)
	defer tick.Stop()
	var next time.Time // not before then, after a failure
	for {
		select {
		case line, more := <-p.lines:
			if !more {
				seal()
				p.last(ctx, full)
				return
			}
			if len(open.body)+len(line)+2 > p.l.o.ChunkBytes {
				seal()
			}
			sep := byte(',')
			if open.count == 0 {
				sep = '['
			}
			open.body = append(append(open.body, sep), line...)
			open.count++
		case <-tick.C:
			seal()
			tick.Reset(p.l.o.MaxDelay)
		}
		for len(full) > 0 && !p.l.o.Now().Before(next) {
			again, err := p.post(ctx, full[0].body)
			p.l.report(&p.l.postBad, err)
			if err != nil && again {
				wait = min(max(2*wait, 100*time.Millisecond), p.l.o.RetryMax)
				next = p.l.o.Now().Add(wait)
				tick.Reset(min(wait, p.l.o.MaxDelay))
				break
			}
			if err != nil {
				p.l.droppedPost.Add(full[0].count)
				p.l.o.Log.Error("the decision log service refuses decisions", "count", full[0].count, "error", err)
			} else {
				p.l.posted.Add(full[0].count)
			}
			full, wait = full[1:], 0
		}
	}
}

// last posts what is left, once.
func (p *poster) last(ctx context.Context, full []chunk) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTry)
	defer cancel()
	for i, c := range full {
		if _, err := p.post(ctx, c.body); err != nil {
			p.l.report(&p.l.postBad, err)
			for _, c := range full[i:] {
				p.l.droppedPost.Add(c.count)
			}
			return
		}
		p.l.posted.Add(c.count)
	}
}

// post sends one chunk as OPA's plugin does. again: it may work later.
func (p *poster) post(ctx context.Context, body []byte) (again bool, err error) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(body); err != nil {
		return false, fmt.Errorf("compress decisions: %w", err)
	}
	if err := w.Close(); err != nil {
		return false, fmt.Errorf("compress decisions: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.l.o.URL, &z)
	if err != nil {
		return false, fmt.Errorf("post decisions: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "bailiff/"+p.l.o.Version)
	if p.l.o.Token != nil {
		token, err := p.l.o.Token()
		if err != nil {
			return true, fmt.Errorf("read token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.l.o.Client.Do(req)
	if err != nil {
		return true, fmt.Errorf("post decisions: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // so that the connection can be used again
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return false, nil
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusRequestEntityTooLarge, resp.StatusCode == http.StatusUnprocessableEntity:
		return false, fmt.Errorf("post decisions: the service says %s", resp.Status)
	}
	return true, fmt.Errorf("post decisions: the service says %s", resp.Status)
}
