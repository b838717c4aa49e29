package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"

	"example.com/bailiff/internal/event"
)

// A frame is what is written at once: some events in order, or a note about
// events that are not there.
//
//	0  magic   4 bytes, where a reader begins again after damage
//	4  sum     CRC-32C of all that follows, begun at the run's salt
//	8  length  of the payload
//	12 count   events in the payload
//	16 first   index of the first event, or of the first one lost
//	24 time    when it was written, ns since 1970
//	32 kind, reason, flags, 5 bytes of zero
//	40 payload: for each event its length as uvarint, and its bytes, all of it
//	           packed if the flags say so;
//	           for a gap the number of events lost, 8 bytes
//
// The salt is random and known to nobody but the agent: a process cannot put
// something into its arguments that would be taken for a frame.
const (
	frameHeader = 40
	// maxRecord bounds one event, maxFrame what a reader takes for a length.
	maxRecord = 1 << 20
	maxFrame  = maxRecord + 2*targetFrame
	// targetFrame is the payload at which a frame is closed: enough to make
	// the header and the system call cheap, few enough events to lose at once.
	targetFrame = 64 << 10
)

type frameKind uint8

const (
	kindRecords frameKind = 1
	kindGap     frameKind = 2
	kindEnd     frameKind = 3 // the run ended as it should
)

const (
	flagAtLeast = 1
	flagZstd    = 2
)

// frame is a decoded frame; payload is the reader's memory.
type frame struct {
	kind    frameKind
	reason  event.LossReason
	atLeast bool
	packed  bool   // payload is still packed
	count   uint64 // events in it, or lost
	first   uint64
	time    int64
	payload []byte
}

// end is the index after the frame's last event.
func (f *frame) end() uint64 { return f.first + f.count }

// errBadFrame says that there is no frame here.
var errBadFrame = errors.New("no frame")

func frameMagic() []byte               { return []byte{0xf7, 'B', 'F', 0x1a} }
func castagnoli() *crc32.Table         { return crc32.MakeTable(crc32.Castagnoli) }
func sum(salt uint32, b []byte) uint32 { return crc32.Update(salt, castagnoli(), b) }

// appendFrame appends f to b.
func appendFrame(b []byte, f *frame, salt uint32) []byte {
	payload, count := f.payload, f.count
	if f.kind == kindGap {
		payload, count = binary.LittleEndian.AppendUint64(nil, f.count), 0
	}
	at := len(b)
	b = append(b, frameMagic()...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, uint32(count))
	b = binary.LittleEndian.AppendUint64(b, f.first)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.time))
	flags := byte(0)
	if f.atLeast {
		flags |= flagAtLeast
	}
	if f.packed {
		flags |= flagZstd
	}
	b = append(b, byte(f.kind), byte(f.reason), flags, 0, 0, 0, 0, 0)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[at+4:], sum(salt, b[at+8:]))
	return b
}

// frameLength reads a header and returns the length of the whole frame.
func frameLength(h []byte) (int, error) {
	if len(h) < frameHeader || !bytes.Equal(h[:4], frameMagic()) {
		return 0, errBadFrame
	}
	n := binary.LittleEndian.Uint32(h[8:])
	if n > maxFrame {
		return 0, errBadFrame
	}
	return frameHeader + int(n), nil
}

// parseFrame reads the frame that b begins with.
func parseFrame(b []byte, salt uint32) (f frame, length int, err error) {
	length, err = frameLength(b)
	if err != nil || length > len(b) || sum(salt, b[8:length]) != binary.LittleEndian.Uint32(b[4:]) {
		return f, 0, errBadFrame
	}
	f = frame{
		kind: frameKind(b[32]), reason: event.LossReason(b[33]), atLeast: b[34]&flagAtLeast != 0, packed: b[34]&flagZstd != 0,
		count: uint64(binary.LittleEndian.Uint32(b[12:])), first: binary.LittleEndian.Uint64(b[16:]),
		time: int64(binary.LittleEndian.Uint64(b[24:])), payload: b[frameHeader:length],
	}
	if f.kind == kindGap {
		if len(f.payload) != 8 {
			return f, 0, errBadFrame
		}
		f.count = binary.LittleEndian.Uint64(f.payload)
	}
	if f.first+f.count < f.first || f.kind < kindRecords || f.kind > kindEnd {
		return f, 0, errBadFrame
	}
	if f.kind == kindRecords && !f.packed && !wellFormed(f.payload, f.count) {
		return f, 0, errBadFrame
	}
	return f, length, nil
}

// packer packs frames.
type packer struct {
	enc *zstd.Encoder
	buf []byte
}

// newPacker returns one that knows nothing of the frame before: each can be
// read by itself.
func newPacker() *packer {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(2*targetFrame), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(fmt.Sprintf("make packer: %v", err)) // the options are constants
	}
	return &packer{enc: enc}
}

// pack packs f's payload if that makes it smaller; it is valid until the next.
func (p *packer) pack(f *frame) {
	p.buf = p.enc.EncodeAll(f.payload, p.buf[:0])
	if len(p.buf) < len(f.payload) {
		f.payload, f.packed = p.buf, true
	}
}

// unpacker is the inverse of packer. The zero value can be used.
type unpacker struct {
	dec *zstd.Decoder
	buf []byte
}

func (u *unpacker) unpack(f *frame) error {
	if u.dec == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecoderLowmem(true))
		if err != nil {
			return fmt.Errorf("make unpacker: %w", err)
		}
		u.dec = dec
	}
	var err error
	if u.buf, err = u.dec.DecodeAll(f.payload, u.buf[:0]); err != nil || !wellFormed(u.buf, f.count) {
		return errBadFrame
	}
	f.payload, f.packed = u.buf, false
	return nil
}

func (u *unpacker) close() {
	if u.dec != nil {
		u.dec.Close()
		u.dec = nil
	}
}

func wellFormed(payload []byte, count uint64) bool {
	for ; count > 0; count-- {
		rest, ok := skipRecord(payload)
		if !ok {
			return false
		}
		payload = rest
	}
	return len(payload) == 0
}

func skipRecord(b []byte) (rest []byte, ok bool) {
	_, rest, ok = cutRecord(b)
	return rest, ok
}

// cutRecord takes the first event off a payload.
func cutRecord(b []byte) (record, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}

// resync returns where in b the next whole frame begins, after from.
func resync(b []byte, from int, salt uint32) (int, bool) {
	for from < len(b) {
		i := bytes.Index(b[from:], frameMagic())
		if i < 0 {
			return 0, false
		}
		from += i
		if _, _, err := parseFrame(b[from:], salt); err == nil {
			return from, true
		}
		from++
	}
	return 0, false
}
