//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"keyway/test/lab"
)

var streamSection = section{
	name:  "stream",
	title: "The resumable stream",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		m := &streamBench{bench: b}
		var s strings.Builder
		fmt.Fprintf(&s, "The cost: the same ssh, link, node and guest with and without the stream between link and guest, taken in turns; %d transfers of %d MiB each way, CPU time of link and guest for them, and %d round trips of one byte through `ssh -L`, medians. ",
			b.bulk, streamMiB, echoes)
		fmt.Fprintf(&s, "The return after a cut: the stream alone over TCP with a round trip of %v, median of %d. The memory: 1,000 idle streams in one process.\n\n", streamRTT, comebacks)
		if err := m.prepare(); err != nil {
			return "", err
		}
		for _, f := range []func(context.Context) error{m.costs, m.latency, m.comesBack, m.idle, m.bastionKilled} {
			if err := f(ctx); err != nil {
				return "", err
			}
		}
		s.WriteString(m.targets.String())
		s.WriteString("\nThe least that a resumable stream does is a copy of each byte into a ring at its sender, a checksum at both ends and a header for each frame. Put into the relays without the stream, with no acknowledgement and no other work, these alone took 1.03 × the CPU time in the link and 1.15 × in the guest from guest to laptop, 0.96 × and 1.06 × the other way (2026-11-30, medians of 4 in turns; the stream itself took 1.07, 1.22, 1.28 and 1.18).\n")
		s.WriteString("\nFor comparison, by their sources: Eternal Terminal keeps a buffer of 64 MiB a connection, Teleport's resumption 2.2 MiB; both also for idle streams.\n")
		s.WriteString("\n" + m.notes.String())
		return s.String(), nil
	},
}

const (
	streamMiB = 256
	echoes    = 2000

	targetStreamRate    = 0.9                    // of the same without the stream
	targetStreamLatency = 200 * time.Microsecond // more than without it
	targetStreamCPU     = 350 * time.Millisecond // per GiB and end
	targetStreamTimes   = 1.15                   // as much CPU time as without it
	targetStreamIdle    = 24 << 10               // bytes per end
)

// streamBench is the stream's part of a run.
type streamBench struct {
	*bench
	targets targets
	notes   strings.Builder
}

// form is ssh with or without the stream, given by its options.
type form struct {
	name    string
	options []string
}

// plainState is a state directory in which the workspace has a host key of
// another kind, and streams need an Ed25519 key: the link takes a plain pipe.
const plainState = "/root/plain"

var forms = []form{
	{"with", nil},
	{"without", []string{"-o", "ProxyCommand=env XDG_STATE_HOME=" + plainState + " keyway proxy %n"}},
}

func (m *streamBench) prepare() error {
	laptop := m.lab.Laptop
	hosts, err := laptop.ReadFile("/root/.local/state/keyway/hosts.json")
	if err != nil {
		return err
	}
	if err := check(m.laptop("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "/root/other")); err != nil {
		return err
	}
	other, err := laptop.ReadFile("/root/other.pub")
	if err != nil {
		return err
	}
	key := strings.Join(strings.Fields(other)[:2], " ")
	hosts = regexp.MustCompile(`ssh-ed25519 [A-Za-z0-9+/=]+`).ReplaceAllLiteralString(hosts, key)
	if err := laptop.WriteFile(filepath.Join(plainState, "keyway", "hosts.json"), hosts, 0o600); err != nil {
		return err
	}
	for _, f := range forms {
		if err := check(m.laptop("ssh", append(slices.Clone(f.options), ours.host, "true")...)); err != nil {
			return fmt.Errorf("%s the stream: %w", f.name, err)
		}
	}
	return check(m.laptop("sh", "-c", fmt.Sprintf("head -c %d /dev/urandom >/root/stream && scp -q /root/stream %s:/tmp/stream", streamMiB<<20, ours.host)))
}

// ends returns the processes in which the stream has its ends.
func (m *streamBench) ends() map[string]time.Duration {
	used := map[string]time.Duration{}
	links := m.lab.Laptop.Links()
	for p, d := range m.lab.Laptop.CPUTimes() {
		if slices.Contains(links, p.PID) {
			used["link"] += d
		}
	}
	for p, d := range m.lab.GPU.CPUTimes() {
		if strings.HasPrefix(p.Name, "keyway-guest") {
			used["guest"] += d
		}
	}
	return used
}

// costs compares the rate and the CPU time of scp.
func (m *streamBench) costs(ctx context.Context) error {
	for _, way := range []struct {
		name     string
		from, to string
	}{
		{"guest to laptop", ours.host + ":/tmp/stream", "/root/stream.back"},
		{"laptop to guest", "/root/stream", ours.host + ":/tmp/stream.again"},
	} {
		took := map[string][]time.Duration{}
		cpu := map[string]map[string][]time.Duration{"link": {}, "guest": {}}
		for range m.bulk {
			for _, f := range forms {
				before := m.ends()
				d, err := m.once(m.lab.Laptop, append(append([]string{"scp", "-q"}, f.options...), way.from, way.to))
				if err != nil {
					return err
				}
				took[f.name] = append(took[f.name], d)
				for end, used := range m.ends() {
					cpu[end][f.name] = append(cpu[end][f.name], (used-before[end])*1024/streamMiB)
				}
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		of := ratio(median(took["without"]), median(took["with"]))
		m.targets.add(fmt.Sprintf("scp, %s ≥ %.1f of the same without the stream (%.0f MiB/s)", way.name, targetStreamRate, streamMiB/median(took["without"]).Seconds()),
			fmt.Sprintf("%.2f", of), of >= targetStreamRate)
		for _, end := range []string{"link", "guest"} {
			with, without := median(cpu[end]["with"]), median(cpu[end]["without"])
			m.targets.add(fmt.Sprintf("CPU time of the stream in the %s, %s ≤ %.2f s per GiB (%.2f s with it, %.2f s without)", end, way.name,
				targetStreamCPU.Seconds(), with.Seconds(), without.Seconds()),
				fmt.Sprintf("%.2f s", (with-without).Seconds()), with-without <= targetStreamCPU)
			times := ratio(with, without)
			m.targets.add(fmt.Sprintf("CPU time in the %s, %s ≤ %.2f × the same without the stream", end, way.name, targetStreamTimes),
				fmt.Sprintf("%.2f ×", times), times <= targetStreamTimes)
		}
	}
	return nil
}

// latency compares round trips through a forwarded port.
func (m *streamBench) latency(ctx context.Context) error {
	echo, err := m.lab.GPU.Listen(m.lab.GPU.Address + ":0")
	if err != nil {
		return err
	}
	defer echo.Close()
	go serveEcho(echo) // ends with the listener
	conns := make([]net.Conn, len(forms))
	for i, f := range forms {
		port := 7801 + i
		tunnel := m.laptop("ssh", append(slices.Clone(f.options), "-N", "-o", "ExitOnForwardFailure=yes",
			"-L", fmt.Sprintf("127.0.0.1:%d:%s", port, echo.Addr()), ours.host)...)
		if err := tunnel.Start(); err != nil {
			return err
		}
		defer func() { _ = tunnel.Process.Kill(); _ = tunnel.Wait() }()
		if conns[i], err = m.dialUntil(ctx, fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			return err
		}
		defer conns[i].Close()
	}
	took := make([][]time.Duration, len(forms))
	for n := range echoes {
		for i, c := range conns {
			d, err := roundTrip(c)
			if err != nil {
				return err
			}
			if n >= echoes/10 { // the first ones warm up caches
				took[i] = append(took[i], d)
			}
		}
	}
	with, without := median(took[0]), median(took[1])
	m.targets.add(fmt.Sprintf("added to a round trip (%d µs without the stream) ≤ %d µs", without.Microseconds(), targetStreamLatency.Microseconds()),
		fmt.Sprintf("%d µs", (with-without).Microseconds()), with-without <= targetStreamLatency)
	return nil
}

func roundTrip(c net.Conn) (time.Duration, error) {
	var one [1]byte
	begin := time.Now()
	if _, err := c.Write(one[:]); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, one[:])
	return time.Since(begin), err
}

func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with the connection
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

// dialUntil connects to a port of the laptop as soon as ssh listens. ssh -N does not report that.
func (m *streamBench) dialUntil(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := m.lab.Laptop.Dial(ctx, address)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// idle runs the package's own benchmark of 1,000 idle streams.
func (m *streamBench) idle(ctx context.Context) error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkIdle$", "-benchtime", "1x", "./internal/stream")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var kib float64
	for _, unit := range []string{"heap-KiB/end", "stack-KiB/end"} {
		n, err := figure(out, unit)
		if err != nil {
			return err
		}
		kib += n
	}
	m.targets.add(fmt.Sprintf("an end of an idle stream, its socket included, ≤ %d KiB", targetStreamIdle>>10),
		fmt.Sprintf("%.1f KiB", kib), kib*1024 <= targetStreamIdle)
	return nil
}
