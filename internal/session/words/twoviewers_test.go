//go:build linux

package words

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// TestTwoViewersType checks that the input of two viewers that type at once arrives whole and in order.
func TestTwoViewersType(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	a := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `stty raw -echo; echo ready; exec head -c 262144 >`+fifo)
	a.out.expect(t, "ready")
	b := l.startTTY(24, 80, "attach", "x")
	b.out.expect(t, "ready")
	const packets = 2_000
	var sent [2]string
	r := rand.New(rand.NewPCG(1, 2))
	read := make(chan []byte)
	go func() { got, _ := os.ReadFile(fifo); read <- got }()
	for n := range packets {
		who := r.IntN(2)
		begin := answers[r.IntN(len(answers))]
		if r.IntN(2) == 0 {
			begin = "\x1b_" + strings.Repeat("k", r.IntN(40))
		}
		keys := fmt.Sprintf("%s of %d, %d;", begin, who, n)
		sent[who] += keys
		[]*liveProcess{a, b}[who].keys(keys)
	}
	rest := strings.Repeat(".", 256<<10-len(sent[0]+sent[1])) // the job reads that many bytes
	sent[0] += rest
	a.keys(rest)
	var got []byte
	within(t, "all that was typed", func() { got = <-read })
	if at := interleaved(got, sent[0], sent[1]); at < len(sent[0]+sent[1]) {
		t.Errorf("at %d of %d came %.60q", at, len(sent[0]+sent[1]), got[at:])
	}
}

// interleaved returns the length of the longest prefix of p that a and b make, each in order.
func interleaved(p []byte, a, b string) (n int) {
	taken := map[int]bool{0: true} // the number of bytes of a that may have been used
	for n < len(p) && len(taken) > 0 {
		next := map[int]bool{}
		for i := range taken {
			if i < len(a) && a[i] == p[n] {
				next[i+1] = true
			}
			if j := n - i; j < len(b) && b[j] == p[n] {
				next[i] = true
			}
		}
		if taken = next; len(taken) > 0 {
			n++
		}
	}
	return n
}

// TestKeysThatLookLikeAnswers checks that Alt-_ and other keys in one packet reach the job while
// two viewers are attached, and that an answer of the inactive viewer's terminal does not.
func TestKeysThatLookLikeAnswers(t *testing.T) {
	l := newLab(t)
	a := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `stty raw -echo; echo ready; printf '\033_Gi=1,a=q;AAAA\033\\\033[c'; while :; do dd bs=1 count=1 2>/dev/null | od -An -c | tr -d ' \n'; done`)
	a.out.expect(t, "ready")
	b := l.startTTY(24, 80, "attach", "x")
	b.out.expect(t, "ready")
	a.keys("1") // typed on last; the question came before b
	a.out.expect(t, "1")
	b.keys("\x1b_Gone")
	b.out.expect(t, "033_Gone")
	b.keys("\x1b[?62;22c")
	b.out.expect(t, "033[?62;22c")
	b.keys("2")
	a.out.expect(t, "2")
}
