package event

import "time"

// Run is one run of the agent: sequence numbers belong to it.
type Run struct {
	ID   string // random, made when the agent starts
	Boot string // /proc/sys/kernel/random/boot_id
}

// Position names an event by its run and its number there. The zero Position
// stands before everything that is kept.
type Position struct {
	Run string // Run.ID
	Seq uint64 // Event.Seq
}

// Kept is what a durable log gives back: an event in its wire form, or a gap
// where events were lost.
type Kept struct {
	Run  Run
	Seq  uint64 // of the event; unused for a gap
	Data []byte // the event; nil for a gap
	Gap  *KeptGap
}

// KeptGap stands for events of one run that the log does not have.
type KeptGap struct {
	First, Last uint64 // sequence numbers, both lost; meaningless when Count is 0
	Count       uint64 // 0 with AtLeast: nobody knows how many
	Reason      LossReason
	AtLeast     bool // there may be more, after Last
}

// LossReason is why a durable log does not have an event.
type LossReason uint8

// Values of LossReason. They are written to disk and do not change.
const (
	LossNone          LossReason = iota
	LossEvicted                  // removed: the log is bounded in size and age
	LossDamaged                  // was written, cannot be read any more
	LossWrite                    // could not be written: disk full, read-only, failing
	LossQueue                    // came faster than the disk took it
	LossOversize                 // one event was larger than the log takes
	LossUnclean                  // the agent died before it was written
	LossUnknownCursor            // the reader's position is of a run that nobody remembers
	LossRing                     // the kernel made it faster than the agent read: the ring was full
	NumLossReasons               // not a reason
)

// String names the reason as metrics and JSON do.
func (r LossReason) String() string {
	names := [NumLossReasons]string{"none", "evicted", "damaged", "write", "queue", "oversize", "unclean", "unknown_cursor", "ring_full"}
	if r < NumLossReasons {
		return names[r]
	}
	return "unknown"
}

// SpoolReport is what a durable log found when it was opened.
type SpoolReport struct {
	Clean     bool          // the run before ended as it should, or there was none
	Lost      uint64        // events of runs before that were taken and never written
	AtLeast   bool          // there may be more than Lost: the machine went down, too
	TornBytes int64         // half-written at the end
	Segments  int           // files found
	Took      time.Duration // to look at them
}
