//go:build linux

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// work is something that a user's program does. begin prepares it, before any fault; once does it
// during the faults, and returns an error if the result is wrong.
type work struct {
	name  string
	begin func(w *world) error
	once  func(w *world) error
}

// script runs a shell script on the laptop. It is an argument, because an ssh in
// it would read the rest of one that comes by standard input.
func (w *world) script(text string) error {
	_, err := w.run("bash", "-c", "set -eu\n"+text)
	return err
}

func onLaptop(text string) func(w *world) error {
	return func(w *world) error { return w.script(text) }
}

// copies returns the two of a large file. The sample's name is that of the file
// on the laptop and in the workspace.
func copies(s sample, name string) []work {
	same := func(out, what string) error {
		if sum, _, _ := strings.Cut(out, " "); sum != s.sum {
			return fmt.Errorf("%s has checksum %q, want %q", what, sum, s.sum)
		}
		return nil
	}
	return []work{{
		name: "scp to the guest",
		once: func(w *world) error {
			if err := w.script("scp -q " + name + " train:" + name + ".up"); err != nil {
				return err
			}
			out, err := w.run("ssh", train, "sha256sum "+name+".up; rm "+name+".up")
			return errors.Join(err, same(out, "what arrived"))
		},
	}, {
		name:  "scp from the guest",
		begin: onLaptop("scp -q " + name + " train:" + name),
		once: func(w *world) error {
			if err := w.script("scp -q train:" + name + " " + name + ".down"); err != nil {
				return err
			}
			out, err := w.run("sha256sum", name+".down")
			return errors.Join(err, same(out, "what came back"), w.script("rm "+name+".down"))
		},
	}}
}

// others returns the other works, with files of the given size in bytes.
func others(size int64) []work {
	large := fmt.Sprintf("head -c %d /dev/urandom", size)
	return []work{{
		name: "rsync",
		begin: onLaptop(`mkdir -p tree/sub
		for i in $(seq 500); do head -c $((i * 100)) /dev/urandom >tree/sub/$i; done
		` + large + ` >tree/large`),
		once: onLaptop(`rsync -a tree/ train:tree/
		[ -z "$(rsync -acni --delete tree/ train:tree/)" ]
		rsync -a train:tree/ back/
		diff -r tree back
		rm -r back
		ssh train rm -r tree`),
	}, {
		name: "git clone",
		begin: onLaptop(`ssh train 'set -e
		git init -q repo; cd repo
		git config user.name Lab; git config user.email lab@laptop.example; git config core.compression 0
		` + large + ` >large; for i in $(seq 300); do echo $i >$i; done
		git add .; git commit -qm all'`),
		once: onLaptop(`git clone -q train:repo clone
		git -C clone fsck --strict
		[ "$(git -C clone rev-parse HEAD)" = "$(ssh train git -C repo rev-parse HEAD)" ]
		[ "$(sha256sum <clone/large)" = "$(ssh train 'sha256sum <repo/large')" ]
		rm -r clone`),
	}, {
		name:  "sftp",
		begin: onLaptop(large + " >sent"),
		once: onLaptop(`printf 'put sent came\nget came back.sftp\nrm came\n' | sftp -q -b - train >/dev/null
		cmp sent back.sftp
		rm back.sftp`),
	}, {
		name: "ssh with a command",
		once: onLaptop(`want=$(seq 2000000 | sha256sum)
		[ "$(seq 2000000 | ssh train cat | sha256sum)" = "$want" ]
		[ "$(seq 2000000 | ssh train sha256sum)" = "$want" ]
		code=0; ssh train 'exit 7' || code=$?; [ "$code" = 7 ]`),
	}}
}

// forward is traffic through one ssh -L that lasts as long as the lab: one connection that stays,
// and a new one for each piece.
type forward struct {
	w    *world
	port int
	stay net.Conn
}

func forwarding(port int) work {
	f := &forward{port: port}
	return work{name: "ssh -L", begin: f.begin, once: f.once}
}

// begin starts a server that echoes on the GPU machine, and the tunnel.
func (f *forward) begin(w *world) error {
	f.w = w
	echo, err := w.GPU.Listen(w.GPU.Address + ":0")
	if err != nil {
		return err
	}
	w.t.Cleanup(func() { echo.Close() })
	go func() { // ends with the listener
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	tunnel := w.command("ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", fmt.Sprintf("127.0.0.1:%d:%s", f.port, echo.Addr()), train)
	var said bytes.Buffer
	tunnel.Stderr = &said
	if err := tunnel.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = tunnel.Wait() }()
	w.t.Cleanup(func() {
		select {
		case <-ended:
			w.t.Errorf("the tunnel has ended: %s", said.String())
		default:
			_ = tunnel.Process.Kill()
			<-ended
		}
	})
	if f.stay, err = f.dial(); err != nil {
		return err
	}
	w.t.Cleanup(func() { f.stay.Close() })
	return f.echoes(f.stay, 1000)
}

// dial connects to the tunnel's port as soon as ssh listens. ssh -N does not report that.
func (f *forward) dial() (net.Conn, error) {
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := f.w.Laptop.Dial(context.Background(), fmt.Sprintf("127.0.0.1:%d", f.port))
		if err == nil || time.Since(begin) > time.Minute {
			return c, err
		}
	}
}

func (f *forward) once(*world) error {
	c, err := f.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return errors.Join(f.echoes(f.stay, 8<<20), f.echoes(c, 8<<20))
}

// echoes sends n random bytes and expects them back.
func (f *forward) echoes(c net.Conn, n int64) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	seed := [32]byte{byte(n), byte(rand.Uint32())}
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() { _, sendErr = io.CopyN(c, rand.NewChaCha8(seed), n) })
	err := compare(c, io.LimitReader(rand.NewChaCha8(seed), n))
	if err != nil {
		c.Close()
	}
	sending.Wait()
	if err := errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("forwarded port: %w", err)
	}
	return nil
}

// compare reads from got, and compares with want.
func compare(got, want io.Reader) error {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := 0; ; {
		n, err := want.Read(b)
		if _, err := io.ReadFull(got, a[:n]); err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return fmt.Errorf("other bytes after %d", at)
		}
		at += n
		if err != nil {
			return nil
		}
	}
}

// everything returns all works that run at the same time while parts are killed.
func everything(s sample) []work {
	return append(append(copies(s, "big"), others(s.size/16)...), forwarding(7601))
}
