package given

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	// maxPages bounds what is read of one thread, whatever its pointers say.
	maxPages = 4 * Most / pageSize
)

// memory is that of one thread, page by page.
type memory struct {
	tid   int
	word  int // bytes of a pointer
	pages map[uint64][]byte
}

// page returns the page that holds an address.
func (m *memory) page(addr uint64) ([]byte, error) {
	base := addr &^ (pageSize - 1)
	if p := m.pages[base]; p != nil {
		return p, nil
	}
	if len(m.pages) == maxPages {
		return nil, ErrLarge
	}
	p := make([]byte, pageSize)
	local := []unix.Iovec{{Base: &p[0], Len: pageSize}}
	n, err := unix.ProcessVMReadv(m.tid, local, []unix.RemoteIovec{{Base: uintptr(base), Len: pageSize}}, 0)
	if err != nil {
		return nil, fmt.Errorf("read memory of thread %d: %w", m.tid, err)
	}
	if n != pageSize {
		return nil, fmt.Errorf("read memory of thread %d: %d bytes of a page", m.tid, n)
	}
	m.pages[base] = p
	return p, nil
}

// text returns the string at an address, without its NUL.
func (m *memory) text(addr uint64) ([]byte, error) {
	var out []byte
	for len(out) <= Most {
		p, err := m.page(addr)
		if err != nil {
			return nil, err
		}
		rest := p[addr&(pageSize-1):]
		if n := bytes.IndexByte(rest, 0); n >= 0 {
			return append(out, rest[:n]...), nil
		}
		out = append(out, rest...)
		addr += uint64(len(rest))
	}
	return nil, ErrLarge
}

// pointer returns the pointer at an address, which need not be aligned.
func (m *memory) pointer(addr uint64) (uint64, error) {
	var b [8]byte
	for i := range m.word {
		p, err := m.page(addr + uint64(i))
		if err != nil {
			return 0, err
		}
		b[i] = p[(addr+uint64(i))&(pageSize-1)]
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// list returns the strings that a list of pointers, ended by NULL, leads to. NULL in
// its place is an empty list, as to Linux.
func (m *memory) list(addr uint64) ([][]byte, error) {
	var out [][]byte
	if addr == 0 {
		return nil, nil
	}
	for total := 0; ; addr += uint64(m.word) {
		p, err := m.pointer(addr)
		if err != nil || p == 0 {
			return out, err
		}
		s, err := m.text(p)
		if err != nil {
			return nil, err
		}
		if total += len(s) + 1; total > Most {
			return nil, ErrLarge
		}
		out = append(out, s)
	}
}
