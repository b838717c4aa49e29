package spool

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// BenchmarkAppend writes events of 400 bytes to a disk and reports the
// processor time of the whole process for each: queue, checksum, write, sync.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []Sync{SyncNever, SyncInterval, SyncAlways} {
		b.Run(string(sync), func(b *testing.B) {
			l := open(b, Options{Dir: b.TempDir(), Run: event.Run{ID: "a"}, Sync: sync, MaxBytes: 256 << 20, QueueBytes: 64 << 20, Linger: 10 * time.Millisecond})
			data := make([]byte, 400)
			before := cpu(b)
			seq := uint64(0)
			for b.Loop() {
				seq++
				l.Append(seq, data, false)
				for seq%4096 == 0 && l.waiting() > 32<<20 { // as fast as the disk, not faster
					time.Sleep(time.Millisecond)
				}
			}
			closeLog(b, l)
			b.ReportMetric(float64(cpu(b)-before)/float64(seq), "cpu-ns/event")
			n := l.Counters()
			b.ReportMetric(float64(n["spool_lost_queue"]+n["spool_lost_write"]), "lost")
		})
	}
}

func (l *Log) waiting() int {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	return l.queued
}

func cpu(b *testing.B) int64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
