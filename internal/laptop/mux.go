package laptop

import (
	"context"
	"net"
	"os"
	"runtime"

	"golang.org/x/crypto/ssh"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// muxSockets returns the directory in which ssh finds the sockets of keyway's mux; empty without a
// mux, which needs /proc.
func muxSockets() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	path, err := dirs.Mux()
	if err != nil {
		return ""
	}
	return path
}

// UseMux switches the mux on or off for ssh's sessions in a workspace.
func (here *Laptop) UseMux(ctx context.Context, e sshconfig.Entry, on bool) error {
	if on {
		if err := here.CheckMux(ctx, e); err != nil {
			return err
		}
	}
	return here.Hosts.SetMux(e, on)
}

// CheckMux refuses the mux for a workspace where a session on it would not be what ssh
// does by itself.
func (here *Laptop) CheckMux(ctx context.Context, e sshconfig.Entry) error {
	sockets := muxSockets()
	if sockets == "" {
		return keyway.Errorf(keyway.Usage, "only keyway for Linux has a mux")
	}
	if e.ForwardAgent {
		return keyway.Errorf(keyway.Usage, "%s has your agent forwarded, which the mux does not do", e.Name).
			Advise(keyway.WithoutAgent)
	}
	why, err := sshconfig.MuxObstacle(ctx, e.Name, sockets)
	if err != nil {
		return err
	}
	if why != "" {
		return keyway.Errorf(keyway.BadConfig, "your ssh configuration says %q for %s, and ssh would not do that on a shared connection", why, e.Name).
			Hint("see what it says: ssh -G %s", e.Name)
	}
	return nil
}

// MuxRoute is a connection to a workspace for the mux, with the data for its login.
type MuxRoute struct {
	Conn    net.Conn
	User    string
	HostKey ssh.PublicKey
	Agent   string
	News    *os.File
}

// MuxRoute reaches a workspace for the mux. No question is asked.
func (here *Laptop) MuxRoute(ctx context.Context, name keyway.Name) (w MuxRoute, err error) {
	e, err := here.Lookup(string(name))
	if err != nil {
		return w, err
	}
	if !e.Mux {
		return w, keyway.Errorf(keyway.Usage, "the mux is off for %s", name)
	}
	if err := here.CheckMux(ctx, e); err != nil {
		return w, err
	}
	w.User, w.Agent = e.User, here.AgentSocket()
	if w.Agent == "" {
		return w, keyway.Errorf(keyway.NoKey, "keyway's agent does not run, and the mux needs it to decide about each session").Advise(keyway.StartAgent)
	}
	if w.HostKey, err = sshconfig.ParseHostKey(e.HostKey); err != nil {
		return w, err
	}
	l, _, err := here.Connect(ctx, e.Place)
	if err != nil {
		return w, err
	}
	w.Conn, w.News, err = l.StreamWithNews(ctx, link.Guest{Place: e.Place, Name: e.Name, HostKey: e.HostKey})
	return w, err
}
