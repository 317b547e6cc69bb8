//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
	"keyway/test/lab"
)

var agentSection = section{
	name:  "agent",
	title: "The agent",
	measure: func(ctx context.Context, b *bench) (text string, err error) {
		a, err := newAgents(ctx)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, a.close()) }()
		return a.measure(ctx, b.runs)
	},
}

// The targets, of ssh-agent in the same run, and bytes.
const (
	targetSignatures  = 3.0  // as many a second
	targetLatency     = 1.0  // as long
	targetLogin       = 1.05 // times as long: the difference between two runs of the same program
	targetAgentMemory = 12_000_000
)

// The load: rounds in turns, so that other work of the computer affects both agents equally.
const (
	agentRounds = 4
	agentRound  = 2 * time.Second
	agentRest   = 15 * time.Second // until memory is looked at again
	agentKeys   = 20
)

var agentClients = []int{1, 64}

// agents are ssh-agent and keyway's agent, and an sshd to log in to.
type agents struct {
	dir         string
	stock, ours *runningAgent
	sshd        *exec.Cmd
	port        int
}

// runningAgent is one of them.
type runningAgent struct {
	what   string
	socket string
	cmd    *exec.Cmd
}

func newAgents(ctx context.Context) (_ *agents, err error) {
	dir, err := os.MkdirTemp("", "kwb")
	if err != nil {
		return nil, err
	}
	a := &agents{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := lab.Build(ctx, dir); err != nil {
		return nil, err
	}
	for i := range agentKeys {
		if err := quiet(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", a.key(i))); err != nil {
			return nil, err
		}
	}
	if a.stock, err = a.startAgent("ssh-agent", "ssh-agent", "-D"); err != nil {
		return nil, err
	}
	// As keyway unlock starts it: with the standard policy, and a log.
	if a.ours, err = a.startAgent("keyway's", filepath.Join(dir, "keyway"), "agent", "-D", "-O", "forward="+filepath.Join(dir, "forward")); err != nil {
		return nil, err
	}
	return a, a.startSSHD(ctx)
}

func (a *agents) key(i int) string { return filepath.Join(a.dir, "key"+strconv.Itoa(i)) }

func quiet(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// startAgent starts one with all keys in it.
func (a *agents) startAgent(what string, argv ...string) (*runningAgent, error) {
	r := &runningAgent{what: what, socket: filepath.Join(a.dir, filepath.Base(argv[0])+".sock")}
	r.cmd = exec.Command(argv[0], append(argv[1:], "-a", r.socket)...)
	r.cmd.Env = append(os.Environ(), "HOME="+a.dir, "XDG_STATE_HOME="+a.dir+"/state", "XDG_CONFIG_HOME="+a.dir+"/config", "XDG_RUNTIME_DIR="+a.dir)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	var said [1]byte
	if _, err := out.Read(said[:]); err != nil { // it listens before it prints its socket
		return nil, errors.Join(fmt.Errorf("%s does not start: %w", what, err), r.stop())
	}
	for i := range agentKeys {
		add := exec.Command("ssh-add", "-q", a.key(i))
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+r.socket)
		if err := quiet(add); err != nil {
			return nil, errors.Join(err, r.stop())
		}
	}
	return r, nil
}

func (r *runningAgent) stop() error {
	err := r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait() // ssh-agent ends with 2
	return err
}

func (a *agents) startSSHD(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	host, public := filepath.Join(a.dir, "host"), a.key(0)+".pub"
	config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n", a.port, host, public)
	if err := errors.Join(quiet(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host)),
		os.WriteFile(host+".conf", []byte(config), 0o600), os.MkdirAll("/run/sshd", 0o755)); err != nil {
		return err
	}
	key, err := os.ReadFile(host + ".pub")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.dir, "known_hosts"), append([]byte("bench "), key...), 0o600); err != nil {
		return err
	}
	a.sshd = exec.CommandContext(ctx, "/usr/sbin/sshd", "-D", "-e", "-f", host+".conf")
	said, err := a.sshd.StderrPipe()
	if err != nil {
		return err
	}
	if err := a.sshd.Start(); err != nil {
		return err
	}
	var some [256]byte
	if n, err := said.Read(some[:]); err != nil || !bytes.Contains(some[:n], []byte("listening")) {
		return fmt.Errorf("sshd does not start: %s %w", some[:n], err)
	}
	go io.Copy(io.Discard, said) // ends with the process
	return nil
}

func (a *agents) close() error {
	var err error
	for _, r := range []*runningAgent{a.stock, a.ours} {
		if r != nil {
			err = errors.Join(err, r.stop())
		}
	}
	if a.sshd != nil && a.sshd.Process != nil {
		_ = a.sshd.Process.Kill()
		_ = a.sshd.Wait()
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}

// load is the result of a number of clients that sign as fast as they can.
type load struct {
	took []time.Duration // of each signature
	over time.Duration
	cpu  time.Duration // of the agent
}

func (l load) perSecond() float64 { return float64(len(l.took)) / l.over.Seconds() }

func (l load) quantile(q float64) time.Duration {
	slices.Sort(l.took)
	return l.took[int(q*float64(len(l.took)-1))]
}

func (l load) perSignature() time.Duration { return l.cpu / time.Duration(len(l.took)) }

func (l *load) add(more load) {
	l.took = append(l.took, more.took...)
	l.over += more.over
	l.cpu += more.cpu
}

func (a *agents) measure(ctx context.Context, runs int) (string, error) {
	memory, err := procField(a.ours.cmd.Process.Pid, "status", "VmRSS")
	if err != nil {
		return "", err
	}
	loads := map[*runningAgent]map[int]*load{a.stock: {}, a.ours: {}}
	for range agentRounds {
		for _, clients := range agentClients {
			for _, r := range []*runningAgent{a.stock, a.ours} {
				l, err := a.sign(ctx, r, clients)
				if err != nil {
					return "", fmt.Errorf("%s: %w", r.what, err)
				}
				if loads[r][clients] == nil {
					loads[r][clients] = &load{}
				}
				loads[r][clients].add(l)
			}
		}
	}
	stock, slower, err := a.logins(ctx, 2*runs)
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(agentRest):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	after, err := procField(a.ours.cmd.Process.Pid, "status", "VmRSS")
	if err != nil {
		return "", err
	}
	return a.report(loads, stock, slower, memory, after), nil
}

func (a *agents) report(loads map[*runningAgent]map[int]*load, stock, slower time.Duration, memory, after int64) string {
	var s strings.Builder
	fmt.Fprintf(&s, "Ed25519 signatures for logins, by clients that each keep a connection and ask again at once; %d keys; keyway's with the standard policy and a log of each signature. Rounds of %v in turns.\n\n",
		agentKeys, agentRound)
	s.WriteString("| clients | agent | signatures/s | p50 | p99 | CPU each |\n|--:|---|--:|--:|--:|--:|\n")
	var t targets
	for _, clients := range agentClients {
		theirs, mine := loads[a.stock][clients], loads[a.ours][clients]
		for _, r := range []*runningAgent{a.stock, a.ours} {
			l := loads[r][clients]
			fmt.Fprintf(&s, "| %d | %s | %.0f | %d µs | %d µs | %d µs |\n", clients, r.what, l.perSecond(),
				l.quantile(.5).Microseconds(), l.quantile(.99).Microseconds(), l.perSignature().Microseconds())
		}
		many := mine.perSecond() / theirs.perSecond()
		t.add(fmt.Sprintf("signatures a second ≥ %.0f of ssh-agent's, clients: %d", targetSignatures, clients), fmt.Sprintf("%.1f", many), many >= targetSignatures)
		for _, q := range []float64{.5, .99} {
			slow := ratio(mine.quantile(q), theirs.quantile(q))
			t.add(fmt.Sprintf("p%.0f ≤ %.0f of ssh-agent's, clients: %d", 100*q, targetLatency, clients), fmt.Sprintf("%.2f", slow), slow <= targetLatency)
		}
	}
	loginTarget(&t, stock, slower)
	for _, m := range []struct {
		when  string
		bytes int64
	}{{"before the load", memory}, {fmt.Sprintf("%.0f s after it", agentRest.Seconds()), after}} {
		t.add(fmt.Sprintf("resident with %d keys ≤ %d MB, %s", agentKeys, targetAgentMemory/1_000_000, m.when),
			fmt.Sprintf("%.1f MB", mb(m.bytes)), m.bytes <= targetAgentMemory)
	}
	return s.String() + "\n" + t.String()
}

func loginTarget(t *targets, stock, slower time.Duration) {
	login := ratio(stock+slower, stock)
	t.add(fmt.Sprintf("`ssh HOST true` no slower than through ssh-agent (%d ms), within %.0f %%", stock.Milliseconds(), 100*targetLogin-100),
		fmt.Sprintf("%+.1f ms, %.2f", 1000*slower.Seconds(), login), login <= targetLogin)
}

// sign lets clients request signatures for a round.
func (a *agents) sign(ctx context.Context, r *runningAgent, clients int) (load, error) {
	message, err := a.loginRequest()
	if err != nil {
		return load{}, err
	}
	before, err := cpuTime(r.cmd.Process.Pid)
	if err != nil {
		return load{}, err
	}
	took, errs := make([][]time.Duration, clients), make([]error, clients)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { took[i], errs[i] = signUntil(r.socket, message, began.Add(agentRound)) })
	}
	wg.Wait()
	l := load{took: slices.Concat(took...), over: time.Since(began)}
	after, err := cpuTime(r.cmd.Process.Pid)
	l.cpu = after - before
	return l, errors.Join(append(errs, err, ctx.Err())...)
}

// loginRequest returns a request to sign a login as in RFC 4252, section 7.
func (a *agents) loginRequest() ([]byte, error) {
	text, err := os.ReadFile(a.key(0) + ".pub")
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, err
	}
	const signRequest, userauthRequest = 13, 50
	data := append(sshwire.AppendString(nil, strings.Repeat("s", 32)), userauthRequest)
	for _, part := range []string{"root", "ssh-connection", "publickey"} {
		data = sshwire.AppendString(data, part)
	}
	data = sshwire.AppendString(sshwire.AppendString(append(data, 1), key.Type()), key.Marshal())
	message := sshwire.AppendString(sshwire.AppendString([]byte{signRequest}, key.Marshal()), data)
	return sshwire.AppendString(nil, sshwire.AppendUint32(message, 0)), nil
}

func signUntil(socket string, message []byte, end time.Time) (took []time.Duration, err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer := make([]byte, 1<<10)
	for last := time.Now(); last.Before(end); {
		if _, err := conn.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, answer[:5]); err != nil {
			return nil, err
		}
		const signature = 14
		n := int(binary.BigEndian.Uint32(answer)) - 1
		if answer[4] != signature || n > len(answer) {
			return nil, fmt.Errorf("answered %d", answer[4])
		}
		if _, err := io.ReadFull(conn, answer[:n]); err != nil {
			return nil, err
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		last = now
	}
	return took, nil
}

// cpuTime returns the CPU time of a process, user and system (proc(5), stat).
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const utime, ticks = 11, 100 // after the name in brackets; of a second
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err1 := strconv.Atoi(fields[utime])
	system, err2 := strconv.Atoi(fields[utime+1])
	return time.Duration(user+system) * time.Second / ticks, errors.Join(err1, err2)
}

// logins times ssh logging in and out again, by each agent in turns: the median with ssh-agent, and
// the median difference of keyway's agent right after.
func (a *agents) logins(ctx context.Context, runs int) (stock, slower time.Duration, err error) {
	var theirs, more []time.Duration
	for range runs {
		first, err1 := a.login(ctx, a.stock)
		then, err2 := a.login(ctx, a.ours)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		theirs, more = append(theirs, first), append(more, then-first)
	}
	return median(theirs), median(more), nil
}

func (a *agents) login(ctx context.Context, r *runningAgent) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "ssh", "-F", "none", "-p", strconv.Itoa(a.port), "-o", "IdentityAgent="+r.socket, "-o", "IdentitiesOnly=yes",
		"-o", "IdentityFile="+a.key(0)+".pub", "-o", "HostKeyAlias=bench", "-o", "UserKnownHostsFile="+filepath.Join(a.dir, "known_hosts"),
		"-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-l", "root", "127.0.0.1", "true")
	began := time.Now()
	err := quiet(cmd)
	return time.Since(began), err
}
