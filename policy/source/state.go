package source

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The state is one file, so that one rename replaces all of it: a tar of
// state.json and the archives as they came, with their signatures.
const stateName = "state.json"

type stateFile struct {
	Address  string `json:"address"` // where the bundle came from
	Archives int    `json:"archives"`
	floor
}

// writeState writes aside, makes it durable, and renames.
func writeState(path, address string, f floor, archives [][]byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".bundle-*")
	if err != nil {
		return err
	}
	placed := false
	defer func() {
		if !placed {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	head, err := json.Marshal(stateFile{address, len(archives), f})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(tmp)
	add := func(name string, data []byte) error {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err := tw.Write(data)
		return err
	}
	if err := add(stateName, head); err != nil {
		return err
	}
	for i, raw := range archives {
		if err := add(fmt.Sprintf("%d.tar.gz", i), raw); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	placed = true
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("make it durable: %w", err)
	}
	return nil
}

// readState returns what writeState wrote. Its head is believed, since only
// root can write it; the archives are not: they are verified again.
func readState(path string, limit int64) (stateFile, [][]byte, error) {
	var head stateFile
	fh, err := os.Open(path)
	if err != nil {
		return head, nil, err
	}
	defer fh.Close()
	tr := tar.NewReader(io.LimitReader(fh, limit*(maxDeltas+2)))
	var archives [][]byte
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return head, nil, err
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, io.LimitReader(tr, limit)); err != nil {
			return head, nil, err
		}
		if h.Name == stateName {
			if err := json.Unmarshal(b.Bytes(), &head); err != nil {
				return head, nil, err
			}
			head.Set = true
			continue
		}
		archives = append(archives, b.Bytes())
	}
	if !head.Set || len(archives) != head.Archives || len(archives) == 0 {
		return head, nil, io.ErrUnexpectedEOF
	}
	return head, archives, nil
}

// ErrNothingKept says that no bundle was kept by an earlier run.
var ErrNothingKept = errors.New("no bundle is kept")

// Remember reads what was last in force, so that nothing older is accepted. It
// does not read the bundle itself.
func (s *Source) Remember() error {
	if s.o.State == "" {
		return nil
	}
	head, _, err := readState(s.o.State, s.archiveLimit())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.remember(head)
	if err != nil {
		return fmt.Errorf("read kept bundle %s: %w", s.o.State, err)
	}
	return nil
}

func (s *Source) remember(head stateFile) {
	if head.Set {
		s.mu.Lock()
		s.floor = head.floor
		s.mu.Unlock()
	}
}

func (s *Source) archiveLimit() int64 {
	if l := s.o.Policy.Limits.ArchiveBytes; l > 0 {
		return l
	}
	return 64 << 20
}

// Kept returns the bundle that was last in force, by an earlier run. It is
// verified again, with today's keys.
func (s *Source) Kept(ctx context.Context) (*Candidate, error) {
	if s.o.State == "" {
		return nil, ErrNothingKept
	}
	head, archives, err := readState(s.o.State, s.archiveLimit())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNothingKept
	}
	s.remember(head) // even if the bundle cannot be used: nothing older may follow it
	if err != nil {
		return nil, fmt.Errorf("read kept bundle %s: %w", s.o.State, err)
	}
	a, err := s.join(archives)
	if err != nil {
		return nil, fmt.Errorf("read kept bundle %s: %w", s.o.State, err)
	}
	c, err := s.candidate(ctx, a, archives, false)
	if err != nil {
		return nil, err
	}
	c.Kept = true
	if head.Address != s.where.text {
		// Changes are changes to what that address gave.
		c.archives = nil
	}
	return c, nil
}
