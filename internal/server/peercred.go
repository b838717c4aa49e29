package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// peerCredentials asks the kernel who is at the other end of a unix socket.
// Only root and the agent's own user get in: the socket's mode says so too, but
// a descriptor can be handed on.
type peerCredentials struct{ self uint32 }

// unixPeer is what the kernel says about the other end, at its connect.
type unixPeer struct {
	credentials.CommonAuthInfo
	uid uint32
	pid int32
}

func (unixPeer) AuthType() string { return "unix-peer" }

func (p peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("read peer credentials: %T is no unix socket", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || optErr != nil {
		return nil, nil, fmt.Errorf("read peer credentials: %w", errors.Join(err, optErr))
	}
	if cred.Uid != 0 && cred.Uid != p.self {
		return nil, nil, fmt.Errorf("admit peer: user %d is neither root nor the agent's user", cred.Uid)
	}
	info := unixPeer{uid: cred.Uid, pid: cred.Pid}
	info.SecurityLevel = credentials.PrivacyAndIntegrity // it never leaves the machine
	return c, info, nil
}

func (p peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peer credentials are for servers")
}

func (p peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

func (p peerCredentials) OverrideServerName(string) error { return nil }
