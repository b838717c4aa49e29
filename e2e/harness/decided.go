package harness

import (
	"google.golang.org/protobuf/encoding/protowire"

	"example.com/bailiff/internal/event"
)

// Decided is what was decided about an act on a file, or a notice. It is read
// out of the bytes of an event without the rest: whoever checks 20,000 a second
// beside the agent is not to take its processors.
type Decided struct {
	Hook       event.Hook
	Path       string // of the file
	Verdict    event.Verdict
	Revision   string
	Generation uint32
	Divergence bool
	Code       string // of a notice
}

// ReadDecided reads the wire form of an event.
func ReadDecided(b []byte) (d Decided, err error) {
	err = eachNumber(b, func(num protowire.Number, v uint64, part []byte) error {
		switch num {
		case 4:
			d.Hook = event.Hook(v - 1)
		case 6:
			return eachNumber(part, func(num protowire.Number, _ uint64, s []byte) error {
				if num == 2 {
					d.Path = string(s)
				}
				return nil
			})
		case 12:
			return eachNumber(part, func(num protowire.Number, v uint64, s []byte) error {
				switch num {
				case 1:
					d.Verdict = event.Verdict(v - 1)
				case 8:
					d.Revision = string(s)
				case 9:
					d.Generation = uint32(v)
				case 13:
					d.Divergence = v != 0
				}
				return nil
			})
		case 13:
			return eachNumber(part, func(num protowire.Number, _ uint64, s []byte) error {
				if num == 1 {
					d.Code = string(s)
				}
				return nil
			})
		}
		return nil
	})
	return d, err
}

// eachNumber calls f for each field of a message: with its value if it is a
// number, else with its bytes.
func eachNumber(b []byte, f func(protowire.Number, uint64, []byte) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v uint64
		var part []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			part, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(num, v, part); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
