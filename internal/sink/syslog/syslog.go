// Package syslog sends records as messages of RFC 5424 over TLS (RFC 5425).
//
// Syslog has no acknowledgements: what was written to a connection may never
// have been read. So the sender ends the connection from time to time and waits
// for the receiver to end it as well, which a receiver does when it has read
// everything before; only then do the messages count as delivered. If anything
// else happens they are sent again.
package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/dial"
)

// Options says where to send to.
type Options struct {
	Address  string // host:port
	TLS      dial.TLS
	Plain    bool          // TCP without TLS
	Facility int           // 0 to 23; default 13, log audit
	Timeout  time.Duration // for connecting, writing and ending; default 10 s
	Host     sink.Host
}

// DefaultFacility is "log audit".
const DefaultFacility = 13

// Sender is a sink.Sender that speaks syslog.
type Sender struct {
	o    Options
	conn net.Conn
	buf  []byte
}

// New makes a sender. It connects with the first record.
func New(o Options) *Sender {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return &Sender{o: o}
}

// Send implements sink.Sender.
func (s *Sender) Send(ctx context.Context, records []sink.Record) (int, error) {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return 0, err
		}
	}
	s.buf = s.buf[:0]
	for i := range records {
		s.buf = s.frame(s.buf, &records[i])
	}
	err := s.conn.SetDeadline(time.Now().Add(s.o.Timeout))
	if err == nil {
		_, err = s.conn.Write(s.buf)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write to %s: %w", s.o.Address, err), s.Close())
	}
	return 0, nil
}

func (s *Sender) connect(ctx context.Context) error {
	d := &net.Dialer{Timeout: s.o.Timeout}
	var err error
	if s.o.Plain {
		s.conn, err = d.DialContext(ctx, "tcp", s.o.Address)
	} else {
		var c *tls.Config
		if c, err = s.o.TLS.Config(); err == nil {
			s.conn, err = (&tls.Dialer{NetDialer: d, Config: c}).DialContext(ctx, "tcp", s.o.Address)
		}
	}
	if err != nil {
		s.conn = nil
		return fmt.Errorf("connect to %s: %w", s.o.Address, err)
	}
	return nil
}

// frame appends a message with its length before it.
func (s *Sender) frame(b []byte, r *sink.Record) []byte {
	const room = 8 // for the length
	from := len(b)
	b = append(b, "        "...)
	b = s.message(b, r)
	n := strconv.Itoa(len(b) - from - room)
	start := from + room - len(n) - 1
	copy(b[start:], n+" ")
	return append(b[:from], b[start:]...)
}

// message appends what RFC 5424 wants.
func (s *Sender) message(b []byte, r *sink.Record) []byte {
	b = fmt.Appendf(b, "<%d>1 %s %s bailiff - %s ", s.o.Facility*8+r.Severity.Syslog(),
		r.Item.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), name(s.o.Host.Name, 255), name(r.Item.Name(), 32))
	b = append(b, `[origin software="bailiff"`...)
	if v := s.o.Host.Version; v != "" {
		b = append(append(append(b, ` swVersion="`...), name(v, 32)...), '"')
	}
	b = append(b, ']')
	// The id of a sequence goes up to 2^31 - 1 and begins with 1.
	if n := r.Item.Seq & (1<<31 - 1); n > 0 {
		b = fmt.Appendf(b, `[meta sequenceId="%d"]`, n)
	}
	return append(append(b, " \ufeff"...), r.Body...)
}

// name makes a header field of s: printable ASCII without quotes.
func name(s string, most int) string {
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == ']' {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

// Confirm implements sink.Sender. It ends the connection; the next Send makes
// another one.
func (s *Sender) Confirm(context.Context) (int, error) {
	if s.conn == nil {
		return 0, nil
	}
	err := s.conn.SetDeadline(time.Now().Add(s.o.Timeout))
	if err == nil {
		err = s.conn.(interface{ CloseWrite() error }).CloseWrite()
	}
	if t, ok := s.conn.(*tls.Conn); ok && err == nil {
		// The end of TLS does not end the connection for every receiver.
		if tcp, ok := t.NetConn().(*net.TCPConn); ok {
			err = tcp.CloseWrite()
		}
	}
	if err == nil {
		_, err = io.Copy(io.Discard, s.conn)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // a receiver may end without saying so in TLS
		err = nil
	}
	if err == nil {
		err = drained(s.conn)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("end connection to %s: %w", s.o.Address, err), s.Close())
	}
	return 0, s.Close()
}

// drained reports an error unless the receiver has our end of the connection.
// It may have closed its end by itself, before it had read everything; what we
// wrote after that is then refused, but the refusal may still be on its way. An
// end that answers ours comes after the acknowledgement of ours.
func drained(c net.Conn) error {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var left, failed int
	var sysErr error
	err = raw.Control(func(fd uintptr) {
		left, sysErr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if sysErr == nil {
			failed, sysErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		}
	})
	switch {
	case err != nil || sysErr != nil:
		return errors.Join(err, sysErr)
	case failed != 0:
		return syscall.Errno(failed)
	case left > 0:
		return errors.New("the receiver ended it before it had read everything")
	}
	return nil
}

// Close implements sink.Sender.
func (s *Sender) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}
