//go:build linux

package mux

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keyway/test/lab"
)

// soak has everything done at once, and harmed.
type soak struct {
	*world
	t    *testing.T
	end  time.Time     // zero: each harm once is enough
	pace time.Duration // about how long each waits before its next round
	seed uint64
	over atomic.Bool // the works end

	// under counts the beginnings and ends of each harm: it is odd meanwhile.
	under []atomic.Int64
	mu    sync.Mutex
	done  map[string]int
	ended map[string]int // rounds that a harm has ended, by work
}

// The connections that a harm may end.
const (
	none   = iota
	shared // sessions on the mux's connection
	all    // every session that begins
)

// TestSoak runs sessions with the mux and without it, copies, forwards and terminals at once, while
// the bastion, the node, the guest and the link's ssh are killed, the cable is cut, the laptop is
// suspended, the agent is locked and the mux is stopped and killed. It checks that no byte is lost,
// that sessions end only by an event that may end them, and that nothing is left of them.
//
// KEYWAY_SOAK is how long it does so, and KEYWAY_PACE how long each waits between two rounds. With
// 20 s an hour takes a few percent of a core.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := &soak{world: muxed(t), t: t, seed: uint64(time.Now().UnixNano()), done: map[string]int{}, ended: map[string]int{}, under: make([]atomic.Int64, len(soakHarms))}
	if d := span(t, "KEYWAY_SOAK"); d > 0 {
		s.end = time.Now().Add(d)
	} else {
		s.pace = 200 * time.Millisecond // beside other tests
	}
	if d := span(t, "KEYWAY_PACE"); d > 0 {
		s.pace = d
	}
	if text := os.Getenv("KEYWAY_SEED"); text != "" {
		s.seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("KEYWAY_SEED=%d", s.seed)
	s.prepare()
	before := s.take()
	goroutines := s.goroutines()
	s.awaitMux(t)
	var works sync.WaitGroup
	for i, x := range soakWorks {
		works.Go(func() { s.work(x, rand.New(rand.NewPCG(s.seed, uint64(i)))) })
	}
	s.harm(rand.New(rand.NewPCG(s.seed, 1<<32)))
	s.over.Store(true)
	works.Wait()
	t.Logf("done %v; ended by what was done to them %v", s.done, s.ended)
	s.nothingIsLeft(before, goroutines)
}

// span is the duration that a variable says; 0 if it says nothing.
func span(t *testing.T, name string) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// prepare writes the files that the works send.
func (s *soak) prepare() {
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{7}).Read(data)
	if err := s.Laptop.WriteFile("/tmp/data", string(data), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.must(s.t, "scp", "-q", "/tmp/data", train+":/tmp/data")
}

// soakWork is a command that always prints and exits with the same.
type soakWork struct {
	name, command string // with N for a number of its own
	out           string
	code          int
}

var soakWorks = []soakWork{
	{"a session", "ssh train 'echo N; exit 3'", "N\n", 3},
	{"a session without the mux", "ssh -o ControlPath=none train 'echo N; exit 3'", "N\n", 3},
	{"bytes both ways", "ssh train cat </tmp/data | cmp - /tmp/data && echo same; exit ${PIPESTATUS[0]}", "same\n", 0},
	{"bytes both ways without the mux", "ssh -o ControlPath=none train cat </tmp/data | cmp - /tmp/data && echo same; exit ${PIPESTATUS[0]}", "same\n", 0},
	{"bytes both ways with new keys each MiB", "ssh -o ControlPath=none -o RekeyLimit=1M train cat </tmp/data | cmp - /tmp/data && echo same; exit ${PIPESTATUS[0]}", "same\n", 0},
	{"much output", "ssh train 'seq 100000; exit 5' >/tmp/seqN; c=$?; seq 100000 | head -c $(stat -c %s /tmp/seqN) | cmp - /tmp/seqN && echo right; [ $c = 5 ] && wc -l </tmp/seqN; exit $c", "right\n100000\n", 5},
	{"scp", "scp -q train:/tmp/data /tmp/scpN && cmp /tmp/scpN /tmp/data && echo same", "same\n", 0},
	{"rsync", "rsync -a -I /tmp/data train:/tmp/rsyncN && ssh train 'cmp /tmp/data /tmp/rsyncN' && echo same", "same\n", 0},
	{"a terminal", "script -qec \"ssh -t train 'echo N; exit 6' 2>/tmp/ttyN\" /dev/null | grep -ao '[0-9]*'; c=${PIPESTATUS[0]}; cat /tmp/ttyN >&2; exit $c", "N\n", 6},
	{"a forward", behindSoak("-L 127.0.0.1:1800N:GPU", "head -c 7 </dev/tcp/127.0.0.1/1800N"), "up\nSSH-2.0", 0},
	{"a dynamic forward", behindSoak("-D 127.0.0.1:1801N", `exec 3<>/dev/tcp/127.0.0.1/1801N; printf '\5\1\0\5\1\0\3'"\\x$(printf %02x ${#h})$h"'\0\26' >&3; timeout 30 head -c 19 <&3 | tail -c +13; exec 3>&-`), "up\nSSH-2.0", 0},
	{"a client that is killed", `ssh train 'echo $$; while sleep 0.1; do echo; done' >/tmp/killedN & { until read p </tmp/killedN || ! kill -0 $!; do sleep 0.1; done; kill -KILL $!; wait $!; } 2>/dev/null
		ssh train "while kill -0 $p; do sleep 0.1; done 2>/dev/null; echo ended N"`, "ended N\n", 0},
	{"keyway run", "keyway run train -- sh -c 'echo N; exit 4'", "N\n", 4},
	{"many sessions", "for i in 1 2 3 4 5 6 7 8; do ssh train echo $i & p=\"$p $!\"; done; c=0; for i in $p; do wait $i || c=$?; done; exit $c", "", 0},
}

// behindSoak runs a session with a forward, and a script while it is open. The output is in that order:
// of a session that was ended, it is a part.
func behindSoak(options, script string) string {
	return `h=GPUHOST; d=$(mktemp -d); mkfifo $d/in; ssh -o ExitOnForwardFailure=yes ` + options + ` train 'echo up; cat' <$d/in >$d/out & p=$!; exec 5>$d/in
		while kill -0 $p && ! grep -q up $d/out; do sleep 0.05; done 2>/dev/null; cat $d/out; ` + script + `; exec 5>&-; wait $p; c=$?; rm -r $d; exit $c`
}

// work does x again and again until the end. A command may fail only if something was done
// meanwhile that ends sessions. Its output until then must be right.
func (s *soak) work(x soakWork, r *rand.Rand) {
	for i := 0; !s.over.Load(); i++ {
		number := strconv.Itoa(r.IntN(8))
		replace := strings.NewReplacer("GPUHOST", s.GPU.Address, "GPU", s.GPU.Address+":22", "N", number)
		before := s.counts()
		got := s.do("bash", "-c", replace.Replace(x.command))
		excused := s.excused(x, before, got.Stderr)
		want := replace.Replace(x.out)
		ok := got.Code == x.code && (got.Stdout == want || want == "" && len(got.Stdout) == 16)
		part := isPart(got.Stdout, want)
		s.mu.Lock()
		switch {
		case ok:
			s.done[x.name]++
		case excused && part && got.Code != 0 && !strings.Contains(got.Stderr, "took too long"):
			s.ended[x.name]++
		default:
			s.t.Errorf("%s, round %d (excused: %t): %s", x.name, i, excused, got)
		}
		s.mu.Unlock()
		s.rest(r)
	}
}

// rest waits about as long as the pace, no longer than until the end.
func (s *soak) rest(r *rand.Rand) {
	next := time.Now().Add(s.pace/2 + time.Duration(r.Int64N(int64(s.pace)+1)))
	for time.Now().Before(next) && !s.over.Load() {
		time.Sleep(min(time.Until(next), time.Second))
	}
}

// isPart reports whether a command that was ended may have printed that instead of want. Of many
// sessions, any may have ended; of a forward and the session beside it, either.
func isPart(printed, want string) bool {
	if want == "" {
		lines := strings.Fields(printed)
		slices.Sort(lines)
		return len(slices.Compact(slices.Clone(lines))) == len(lines) &&
			!slices.ContainsFunc(lines, func(line string) bool { return len(line) != 1 || line < "1" || line > "8" })
	}
	for _, piece := range strings.SplitAfter(want, banner) {
		n := 0
		for n < min(len(piece), len(printed)) && piece[n] == printed[n] {
			n++
		}
		printed = printed[n:]
	}
	return printed == ""
}

func TestWhatMayBePartOfAnOutput(t *testing.T) {
	for _, c := range []struct {
		printed, want string
		part          bool
	}{
		{"", "3\n", true},
		{"3\n", "3\n", true},
		{"4\n", "3\n", false},
		{"right\n", "right\n100000\n", true},
		{"right\n99", "right\n100000\n", false},
		{"same\nsame\n", "same\n", false},
		{"SSH-2.0up\n", "SSH-2.0up\n", true},
		{"SSHup\n", "SSH-2.0up\n", true},
		{"up\n", "SSH-2.0up\n", true},
		{"up\nSSH", "SSH-2.0up\n", false},
		{"SSH-2.0-OpenSSHup\n", "SSH-2.0up\n", false},
		{"8\n1\n", "", true},
		{"1\n1\n", "", false},
		{"12\n", "", false},
	} {
		if isPart(c.printed, c.want) != c.part {
			t.Errorf("%q of %q: %t", c.printed, c.want, !c.part)
		}
	}
}

// counts returns those of under.
func (s *soak) counts() []int64 {
	counts := make([]int64, len(s.under))
	for i := range counts {
		counts[i] = s.under[i].Load()
	}
	return counts
}

// excused reports whether a harm that may end x was under way since before. stderr is the standard
// error of x.
func (s *soak) excused(x soakWork, before []int64, stderr string) bool {
	alone := strings.Contains(x.command, "ControlPath=none")
	for i, h := range soakHarms {
		if (h.ends == all || h.ends == shared && !alone) && strings.Contains(stderr, h.says) && (before[i]%2 == 1 || s.under[i].Load() != before[i]) {
			return true
		}
	}
	return false
}

// A soakHarm does something, and mends it.
type soakHarm struct {
	name string
	ends int    // the works that may end by it
	says string // in the standard error of those
	do   func(s *soak)
}

var soakHarms = []soakHarm{
	{"the bastion is killed", none, "", func(s *soak) {
		s.Bastion.KillSSHD()
		s.pause(time.Second)
		s.try(s.Bastion.StartSSHD())
	}},
	{"the node is killed", none, "", func(s *soak) { s.try(lab.Kill(syscall.SIGKILL, s.GPU.Nodes()...)) }},
	{"the link's ssh is killed", none, "", func(s *soak) { s.try(lab.Kill(syscall.SIGKILL, s.Laptop.SSHRuns()...)) }},
	{"the guest is killed", all, "", func(s *soak) {
		if got := s.do("ssh", train, "kill -9 $(pgrep -f '[k]eyway-guest serve'); sleep 1000"); got.Code != 255 {
			s.t.Errorf("a session that kills its guest: %s", got)
		}
	}},
	// As any ssh, one that begins now may hear from the system that there is no way.
	{"the cable is cut", all, "cannot be reached: ", func(s *soak) {
		s.try(s.Cut(s.Laptop, s.Bastion))
		s.pause(22 * time.Second)
		s.try(s.Restore(s.Laptop, s.Bastion))
	}},
	// The processes that are not suspended may see it.
	{"the laptop is suspended", all, "the link does not answer: its process ", func(s *soak) {
		// The link, whose watchdog kills a mux that is stopped, sleeps longer.
		link, mux := s.pids("[l]ink serve"), s.pids("[m]ux serve")
		s.kill("STOP", slices.Concat(link, mux))
		s.pause(5 * time.Second)
		s.kill("CONT", slices.Concat(mux, link))
	}},
	{"the mux is killed", shared, "", func(s *soak) { s.kill("KILL", s.pids("[m]ux serve")) }},
	{"the mux is stopped", shared, "", func(s *soak) {
		s.kill("STOP", s.pids("[m]ux serve"))
		s.pause(4 * time.Second)
	}},
	{"the mux is told to end", shared, "", func(s *soak) { s.do("ssh", "-O", "exit", train) }},
	// Open sessions stay, as lock promises. Only a login, or a session that falls back to one,
	// ends.
	{"the agent is locked", all, "Permission denied (publickey", func(s *soak) {
		s.try(failure(s.do("keyway", "lock")))
		s.pause(2 * time.Second)
		s.must(s.t, "keyway", "unlock")
	}},
}

// harm does harm after harm until the end, each at least once, and between them sees to it
// that the next ssh works.
func (s *soak) harm(r *rand.Rand) {
	counts := map[string]int{}
	for i := 0; i < len(soakHarms) || time.Now().Before(s.end); i++ {
		n := i % len(soakHarms)
		if !s.end.IsZero() {
			n = r.IntN(len(soakHarms))
			s.rest(r)
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		}
		h := soakHarms[n]
		s.under[n].Add(1)
		h.do(s)
		if got := s.do("ssh", train, "echo next"); got.Code != 0 || got.Stdout != "next\n" {
			s.t.Errorf("after %s: %s", h.name, got)
		}
		s.under[n].Add(1)
		counts[h.name]++
	}
	s.t.Logf("harm: %v", counts)
}

// pause waits, not as long in a short soak.
func (s *soak) pause(d time.Duration) {
	if s.end.IsZero() {
		d = min(d, time.Second)
	}
	time.Sleep(d)
}

// failure is the error of a command that did not work; nil if it did.
func failure(r result) error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("%s", r)
}

func (s *soak) try(err error) {
	if err != nil {
		s.t.Error(err)
	}
}

// kill sends a signal to processes that may have ended.
func (s *soak) kill(signal string, pids []string) {
	if len(pids) > 0 {
		s.do(append([]string{"kill", "-" + signal}, pids...)...)
	}
}

// usage is the resources of a process.
type usage struct{ descriptors, threads, memory int } // memory in KiB

// take measures the processes that run for long, by their names.
func (s *soak) take() map[string]usage {
	used := map[string]usage{}
	for name, at := range map[string]struct {
		host  *lab.Host
		words string
	}{
		"the link":  {s.Laptop, "[l]ink serve"},
		"the mux":   {s.Laptop, "[m]ux serve"},
		"the agent": {s.Laptop, "keyway [a]gent"},
		"the guest": {s.GPU, "[k]eyway-guest serve"},
	} {
		used[name] = measure(at.host, at.words)
	}
	return used
}

// measure sums up the processes whose command line has those words.
func measure(h *lab.Host, words string) (u usage) {
	out, err := h.Command("bash", "-c", `for p in $(pgrep -f '`+words+`'); do
		echo $(ls /proc/$p/fd | wc -l) $(ls /proc/$p/task | wc -l) $(sed -n 's/^Private_Dirty: *\([0-9]*\).*/\1/p' /proc/$p/smaps_rollup); done`).Output()
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(out)) {
		var one usage
		if n, _ := fmt.Sscan(line, &one.descriptors, &one.threads, &one.memory); n == 3 {
			u = usage{u.descriptors + one.descriptors, u.threads + one.threads, u.memory + one.memory}
		}
	}
	return u
}

// goroutines has the mux write down its goroutines, by which it ends, and counts them.
func (s *soak) goroutines() int {
	s.t.Helper()
	const log = "/root/.local/state/keyway/mux.log"
	before, _ := s.Laptop.ReadFile(log)
	s.kill("QUIT", s.pids("[m]ux serve"))
	end := time.Now().Add(patience)
	for len(s.pids("[m]ux serve")) > 0 && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
	}
	text, err := s.Laptop.ReadFile(log)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(strings.TrimPrefix(text, before), "\ngoroutine ")
}

// more is how much more a process may hold after a soak: descriptors that are open for the next ssh,
// threads that the runtime keeps, of which the guest needed one for each process that it waited
// for at once (a process for each work, and seven more for many sessions), and a heap that was
// needed and is collected later.
var more = usage{descriptors: 6, threads: 8 + len(soakWorks) + 7, memory: 24 << 10}

// nothingIsLeft waits until processes hold no more than before.
func (s *soak) nothingIsLeft(before map[string]usage, goroutines int) {
	s.awaitMux(s.t)
	more := more
	if s.end.IsZero() {
		more.memory *= 4 // a heap that has just been needed; a leak shows in an hour
	}
	var text, said string
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		text = ""
		for name, now := range s.take() {
			was := before[name]
			if now.descriptors > was.descriptors+more.descriptors || now.threads > was.threads+more.threads || now.memory > was.memory+more.memory {
				text += fmt.Sprintf("%s: %+v before, %+v after\n", name, was, now)
			}
		}
		if text == "" || time.Now().After(end) {
			break
		}
		if text != said {
			s.t.Log("awaited: " + text)
			said = text
		}
	}
	if text != "" {
		s.t.Error(text)
	}
	s.t.Logf("before %+v, after %+v", before, s.take())
	if n := s.goroutines(); n > goroutines+10 || goroutines == 0 {
		s.t.Errorf("the mux has %d goroutines, and had %d", n, goroutines)
	}
}
