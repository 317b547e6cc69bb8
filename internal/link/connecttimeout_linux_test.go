package link

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/test/await"
)

// mute accepts connections and sends nothing, like a host behind a firewall that has begun to drop
// packets.
func (i *inn) mute(name string, uses ...string) {
	i.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { l.Close() }) // the kernel accepts in its place
	_, port, _ := net.SplitHostPort(l.Addr().String())
	i.host(name, append(uses, "HostName 127.0.0.1", "Port "+port)...)
}

// drip accepts connections, identifies itself, and then sends no more than a byte at a time, like a
// host behind a network that hardly works.
func (i *inn) drip(name string, uses ...string) {
	i.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		i.t.Fatal(err)
	}
	var all sync.WaitGroup
	i.t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(i.t.Context(), func() { c.Close() })()
				for text := "SSH-2.0-OpenSSH_9.9\r\n\x00\x00\x3f\xfc"; err == nil; text = "x" {
					_, err = io.WriteString(c, text)
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	i.host(name, append(uses, "HostName 127.0.0.1", "Port "+port)...)
}

// TestASilentFirstHostIsGivenUp checks that each host on the route has a time in which to answer
// and to prove its identity, also as a jump host. The time of a host behind another does not count
// the login to the one before.
func TestASilentFirstHostIsGivenUp(t *testing.T) {
	i := newInn(t)
	i.behind = 5 * time.Second
	i.mute("silent")
	i.host("behind", "ProxyJump silent", "HostName 127.0.0.1", "Port 22")
	i.drip("drips")
	i.sshd("bastion", "AuthorizedKeysCommand /usr/bin/sleep 3\nAuthorizedKeysCommandUser root")
	i.mute("quiet", "ProxyJump bastion")
	i.drip("drops", "ProxyJump bastion")
	i.host("third", "ProxyJump bastion,quiet", "HostName 127.0.0.1", "Port 22")
	i.mute("bycommand", "ProxyCommand ssh -F "+i.conf+" -W %h:%p bastion")
	i.everywhere()
	var all sync.WaitGroup
	for _, c := range []struct{ place, unlimited, says string }{
		{"silent", "silent", "silent does not answer"},
		{"behind", "silent", "silent, on the route to behind, does not answer"},
		{"drips", "", "no answer for 5s: drips began to answer, and then stopped"},
		{"quiet", "", "bastion answers, but quiet behind it is silent"},
		{"drops", "", "no answer for 5s: drops began to answer, and then stopped"},
		{"third", "", "bastion answers, but quiet behind it is silent"},
		{"bycommand", "", "bastion answers, but bycommand behind it is silent"},
	} {
		all.Go(func() {
			begun := time.Now()
			p, err := i.dialWith(t.Context(), keyway.Place(c.place), c.unlimited, nil)
			if err == nil {
				p.stop()
			}
			e := keyway.AsError(err)
			if err == nil || e.Kind != keyway.Unreachable || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Next, "ssh -v ") {
				t.Errorf("%s: %v", c.place, err)
			}
			if took := time.Since(begun); took > 50*time.Second { // otherwise the whole time limit, a minute, has passed
				t.Errorf("%s is given up after %v", c.place, took)
			}
		})
	}
	all.Wait()
	i.nobodyLeft()
}

// TestAddressesShareTheTime checks the time for connecting to each address of a first host that has
// several: the first address may be unreachable.
func TestAddressesShareTheTime(t *testing.T) {
	for addresses, want := range []time.Duration{connectTimeout, connectTimeout, connectTimeout / 2, connectTimeout / 3, 7 * time.Second, 6 * time.Second, leastConnectTimeout, leastConnectTimeout} {
		if got := timeForEach(addresses); got != want {
			t.Errorf("%d addresses: %v each, want %v", addresses, got, want)
		}
	}
	for _, route := range []Route{{}, {FirstHop: "127.0.0.1:22"}, {FirstHop: "127.0.0.1:22", Unlimited: "bastion"}, {FirstHop: "[::1]:22", Unlimited: "bastion"}} {
		if got := timeToConnect(t.Context(), route); got != connectTimeout {
			t.Errorf("%+v: %v", route, got)
		}
	}
}

// nobodyLeft waits until every ssh of the attempts has ended.
func (i *inn) nobodyLeft() {
	i.t.Helper()
	var left string
	await.That(i.t, "no ssh is left behind", func() bool {
		left = ""
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range all {
			if line, _ := os.ReadFile(file); strings.Contains(string(line), filepath.Join(i.dir, runPrefix)) {
				left += string(line) + "\n"
			}
		}
		return left == ""
	}, func() string { return left })
}

// TestASlowLoginIsNoSilence checks that a slow login does not count as silence: a person may have
// to answer, or the host may have to look something up.
func TestASlowLoginIsNoSilence(t *testing.T) {
	i := newInn(t)
	i.sshd("slow", "AuthorizedKeysCommand /usr/bin/sleep 3\nAuthorizedKeysCommandUser root")
	i.sshd("behind", "AuthorizedKeysCommand /usr/bin/sleep 3\nAuthorizedKeysCommandUser root", "ProxyJump slow")
	i.everywhere()
	p, err := i.dial("behind")
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
}
