//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"keyway/test/lab"
)

// The mux beyond a first session, which the section connect has.
var muxSection = section{
	name:  "mux",
	title: "The mux",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		m := &muxBench{bench: b}
		for _, l := range lines {
			if err := b.over(l, func() error { return m.over(ctx, l) }); err != nil {
				return "", err
			}
		}
		if err := m.held(); err != nil {
			return "", err
		}
		if err := m.agent(ctx); err != nil {
			return "", err
		}
		return fmt.Sprintf("`ssh HOST true`, %d times one after the other; %d MiB each way with 40 ms, %d without; the round trip of a byte through `ssh HOST cat`, median of %d, alone and beside a session of the mux that downloads. All in turns.\n\n%s",
			backToBack, lines[0].mib, lines[1].mib, muxEchoes, m.targets.String()), nil
	},
}

const (
	backToBack = 16
	muxEchoes  = 100
	muxOpen    = 100 // sessions that are open for the mux's memory

	targetBackToBack = 0.6 // of a ControlMaster that is up
	targetMuxBulk    = 0.9 // of ssh without the mux
	targetBeside     = 2   // times a round trip alone
	targetMuxIdle    = 10  // MiB
	targetMuxOpen    = 16
	targetSpare      = 48 // KiB, as the test of internal/guest has it
	targetDecision   = time.Millisecond
)

type muxBench struct {
	*bench
	targets targets
}

// over measures the values that depend on the line.
func (m *muxBench) over(ctx context.Context, l line) error {
	if err := check(m.laptop("sh", "-c", "ssh warm true >/dev/null 2>&1 </dev/null")); err != nil {
		return err
	}
	defer func() { _ = check(m.laptop("ssh", "-O", "exit", "warm")) }()
	for _, f := range []func(context.Context, line) error{m.inARow, m.bulks, m.beside} {
		if err := f(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// inARow compares sessions one after the other.
func (m *muxBench) inARow(ctx context.Context, l line) error {
	command := func(c contender) []string {
		return []string{"sh", "-c", fmt.Sprintf("for i in $(seq %d); do ssh %s true; done", backToBack, c.host)}
	}
	took, err := m.timed(ctx, m.lab.Laptop, m.bulk, command(held), command(warm))
	if err != nil {
		return err
	}
	of := ratio(took[0], took[1])
	limit := float64(targetBackToBack)
	if !l.delayed {
		limit = 1
	}
	m.targets.add(fmt.Sprintf("%d sessions one after the other ≤ %.1f of a ControlMaster that is up (%d ms), %s", backToBack, limit, took[1].Milliseconds(), l.name),
		fmt.Sprintf("%.2f", of), of <= limit)
	return nil
}

// bulks compares transfers.
func (m *muxBench) bulks(ctx context.Context, l line) error {
	for i, name := range kindNames[:2] {
		command := func(c contender, mib int) []string {
			if i == 0 {
				return []string{"ssh", c.host, "head -c " + strconv.Itoa(mib<<20) + " /dev/zero"}
			}
			return []string{"sh", "-c", "head -c " + strconv.Itoa(mib<<20) + " /dev/zero | ssh " + c.host + " 'cat >/dev/null'"}
		}
		took, err := m.timed(ctx, m.lab.Laptop, m.bulk, command(held, l.mib), command(held, 0), command(ours, l.mib), command(ours, 0))
		if err != nil {
			return err
		}
		with, without := took[0]-took[1], took[2]-took[3]
		of := ratio(without, with)
		m.targets.add(fmt.Sprintf("%s ≥ %.1f of the same without the mux (%.0f MiB/s), %s", name, targetMuxBulk, float64(l.mib)/without.Seconds(), l.name),
			fmt.Sprintf("%.2f", of), of >= targetMuxBulk)
	}
	return nil
}

// beside compares round trips alone and beside a download: with the mux, without it, and with a
// ControlMaster, whose downloads delay later bytes as much.
func (m *muxBench) beside(ctx context.Context, l line) error {
	const alone, beside = 0, 1
	took := map[contender][2]time.Duration{}
	for _, c := range []contender{held, ours, warm} {
		var both [2]time.Duration
		var err error
		if both[alone], err = m.echo(c); err == nil {
			both[beside], err = m.echoBeside(ctx, c)
		}
		if err != nil {
			return err
		}
		took[c] = both
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	of := ratio(took[held][beside], took[held][alone])
	m.targets.add(fmt.Sprintf("a round trip beside a download ≤ %d × alone (%.1f ms), %s", targetBeside, ms(took[held][alone]), l.name),
		fmt.Sprintf("%.2f ×", of), of <= targetBeside)
	of = ratio(took[held][beside], took[ours][beside])
	m.targets.add(fmt.Sprintf("a round trip beside a download ≤ %d × the same without the mux (%.1f ms; with a ControlMaster that is up, %.1f), %s", targetBeside, ms(took[ours][beside]), ms(took[warm][beside]), l.name),
		fmt.Sprintf("%.2f ×", of), of <= targetBeside)
	return nil
}

// echoBeside is echo beside a download through the same host.
func (m *muxBench) echoBeside(ctx context.Context, c contender) (time.Duration, error) {
	download := m.laptop("ssh", c.host, "exec cat /dev/zero")
	if err := download.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = download.Process.Kill(); _ = download.Wait() }()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Second): // until it is at full speed
	}
	return m.echo(c)
}

// echo returns the median round trip of a byte through a session.
func (m *muxBench) echo(c contender) (time.Duration, error) {
	s, err := m.openCat(c)
	if err != nil {
		return 0, err
	}
	all := make([]time.Duration, muxEchoes)
	for i := range all {
		begin := time.Now()
		if err := s.trip(); err != nil {
			return 0, errors.Join(err, s.close())
		}
		all[i] = time.Since(begin)
		time.Sleep(10 * time.Millisecond)
	}
	return median(all), s.close()
}

// cat is a session in which cat runs.
type cat struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func (m *muxBench) openCat(c contender) (*cat, error) {
	s := &cat{cmd: m.laptop("ssh", c.host, "exec cat")}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.trip(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *cat) trip() error {
	if _, err := s.in.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(s.out, make([]byte, 1))
	return err
}

func (s *cat) close() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// held measures the memory of the mux at rest, some time after the last change.
func (m *muxBench) held() error {
	add := func(what string, limit int) error {
		time.Sleep(15 * time.Second)
		out, err := m.lab.Laptop.Output("sh", "-c", "sed -n 's/^\\(VmRSS\\|RssAnon\\):[^0-9]*\\([0-9]*\\).*/\\2/p' /proc/$(pgrep -f '[m]ux serve')/status")
		if err != nil {
			return err
		}
		var kib, own int
		if _, err := fmt.Sscan(out, &kib, &own); err != nil {
			return fmt.Errorf("%w: %q", err, out)
		}
		m.targets.add(fmt.Sprintf("the mux, %s, ≤ %d MiB resident, its program's pages included", what, limit),
			fmt.Sprintf("%.1f MiB, without them %.1f", float64(kib)/1024, float64(own)/1024), kib <= limit<<10)
		return nil
	}
	if err := add("idle", targetMuxIdle); err != nil {
		return err
	}
	var all []*cat
	defer func() {
		for _, s := range all {
			_ = s.close()
		}
	}()
	for range muxOpen {
		s, err := m.openCat(held)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	return add(fmt.Sprintf("with %d sessions that do nothing", muxOpen), targetMuxOpen)
}

// agent runs the packages' own benchmarks of a decision and of a spare stream.
func (m *muxBench) agent(ctx context.Context) error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-v", "-run", "^TestASpareHoldsLittle$", "-bench", "^BenchmarkSession$", "./internal/agent", "./internal/guest")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	ns, err := figure(out, "ns/op")
	if err != nil {
		return err
	}
	decision := time.Duration(ns)
	m.targets.add(fmt.Sprintf("the agent's decision about a session, with its answer, ≤ %v", targetDecision), fmt.Sprintf("%d µs", decision.Microseconds()), decision <= targetDecision)
	kib, err := figure(out, "KiB/end")
	if err != nil {
		return err
	}
	m.targets.add(fmt.Sprintf("an end of a spare stream, the mean of both, ≤ %d KiB", targetSpare), fmt.Sprintf("%.1f KiB", kib), kib <= targetSpare)
	return nil
}

// figure returns the number with that unit in the output of tests and benchmarks.
func figure(out []byte, unit string) (float64, error) {
	found := regexp.MustCompile(`([\d.]+) ` + unit).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("nothing tells %s: %s", unit, out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
