//go:build linux

package words

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestThePasteNeverRunsHere checks that text that is pasted into a session never reaches the
// shell in which it is attached, even if it contains ~d, or the session ends in the middle of it.
func TestThePasteNeverRunsHere(t *testing.T) {
	for name, job := range map[string]string{"to the end": `stty raw -echo; echo ready; cat >got`, "job ends": `stty -echo; echo ready; read x; read x`} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) {
				random := rand.New(rand.NewPCG(seed, 8))
				l := newLab(t)
				p := l.startShellTTY(`"$0" run --as x -- sh -c '` + job + `'; echo left; stty echo; while read line; do echo "HERE $line"; done`)
				p.out.expect(t, "ready")
				text := pastedLines(random, 2000)
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(1+random.IntN(1000)))
					p.keys(string(rest[:n]))
					rest = rest[n:]
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond) // as pastes come over a network
				}
				if name == "to the end" {
					path := filepath.Join(p.cmd.Dir, "got")
					want := twoTildes.ReplaceAll(text, []byte("$1~"))
					within(t, "the paste", func() {
						for got := []byte(nil); !bytes.Equal(twoTildes.ReplaceAll(got, []byte("$1~")), want); got, _ = os.ReadFile(path) {
							time.Sleep(10 * time.Millisecond)
						}
					})
					l.ok("kill", "--grace", "0", "x")
				}
				p.out.expect(t, "left\r\n")
				p.keys("\x04")
				p.wait()
				if strings.Contains(p.out.String(), "HERE") {
					t.Errorf("seed %d: pasted lines ran here: %.200q", seed, p.out)
				}
			}
		})
	}
}

// TestAMarkedPasteThatComesSlowly checks that the rest of a marked paste does not run in the user's
// shell, however slowly it comes. If its end never comes, Ctrl-C ends the wait.
func TestAMarkedPasteThatComesSlowly(t *testing.T) {
	const line = "~d\n~dave/run.sh\n~.\n"
	for name, pieces := range map[string][]string{
		"slow":                {"\x1b[200~x\n", line, line, line, line + "\x1b[201~"},
		"a mark is cut":       {"\x1b", "[200~x\n", line, "\x1b[20", "1~"},
		"begins when it ends": {"x\n\x1b[200~", line, line + "\x1b[201~"},
		"no end":              {"\x1b[200~x\n", line, line, "\x03"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := l.startShellTTY(`"$0" run --as x -- sh -c 'stty -echo; echo ready; read x'; echo left; stty echo; while read line; do echo "HERE $line"; done`)
			p.out.expect(t, "ready")
			for _, piece := range pieces {
				p.keys(piece)
				time.Sleep(1200 * time.Millisecond) // as over a slow line
			}
			p.out.expect(t, "left\r\n")
			p.keys("\x04")
			p.wait()
			if strings.Contains(p.out.String(), "HERE") {
				t.Errorf("pasted lines ran here: %q", p.out)
			}
		})
	}
}

// twoTildes is ~~ at the start of a line, which stands for one ~.
var twoTildes = regexp.MustCompile(`((?:^|[\r\n])(?:\r|\n)*)~~`)

// pastedLines returns text as people paste it, with many sequences that would detach.
func pastedLines(random *rand.Rand, lines int) []byte {
	some := []string{"~dave/run.sh", "~d", "~~d", "~.", "~~.", "~\x1a", "~B", "~", "cd ~d", "~d && rm -rf x", "", "~\t~d", "echo é~d", "\x1b[A~d", "~d~d", "make"}
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "%s%s%d%s", some[random.IntN(len(some))], []string{" ", ""}[random.IntN(2)], i, []string{"\n", "\r", "\r\n"}[random.IntN(3)])
	}
	return b.Bytes()
}
