package kernel

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
)

// TestLostMessagesOfAnEnd checks a busy Jupyter server that loses the last messages of a cell. The
// program asks the kernel; then the cell ends with the received output, and a notice of the loss.
func TestLostMessagesOfAnEnd(t *testing.T) {
	input := func(to wire.Message) wire.Message {
		return wire.New("kernel", to.Header, "iopub", "execute_input", map[string]any{"execution_count": 1})
	}
	stream := func(to wire.Message) wire.Message {
		return wire.New("kernel", to.Header, "iopub", "stream", wire.Text{Name: "stdout", Text: "said\n"})
	}
	reply := func(to wire.Message) wire.Message {
		return wire.New("kernel", to.Header, "shell", "execute_reply", map[string]string{"status": "ok"})
	}
	idle := func(to wire.Message) wire.Message {
		return wire.New("kernel", to.Header, "iopub", "status", map[string]string{"execution_state": "idle"})
	}
	infoReply := func(to wire.Message) wire.Message {
		return wire.New("kernel", to.Header, "shell", "kernel_info_reply", map[string]string{"status": "ok"})
	}
	type say []func(wire.Message) wire.Message
	for name, c := range map[string]struct {
		comes   say
		answers []say         // to each request, in order
		after   time.Duration // before each answer
		asked   int           // number of requests
		notice  bool
	}{
		"nothing lost":                      {comes: say{input, stream, reply, idle}},
		"no state":                          {comes: say{input, stream, reply}, answers: []say{{infoReply, idle}}, asked: 1, notice: true},
		"no state, and none of the answer":  {comes: say{input, stream, reply}, answers: []say{{infoReply}, {infoReply}, {infoReply, idle}}, asked: 3, notice: true},
		"no reply":                          {comes: say{input, stream, idle}, answers: []say{{infoReply, idle}}, asked: 1},
		"the states overtake the replies":   {comes: say{input, stream, idle}, answers: []say{{idle, infoReply}}, asked: 1},
		"no beginning and no end":           {comes: say{stream, reply}, answers: []say{{infoReply, idle}}, asked: 1, notice: true},
		"another cell runs for eight hours": {comes: say{input, stream, reply}, answers: []say{{infoReply, idle}}, after: 8 * time.Hour, asked: 1, notice: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, err := Read("kernel", Options{Dir: t.TempDir(), Limits: journal.Default, Logf: t.Logf, Finished: func(*Kernel) {}})
				if err != nil {
					t.Fatal(err)
				}
				defer k.Close()
				m := ask("code")
				k.toKernel(&client{}, m)
				sent := func() (all []wire.Message) {
					k.mu.Lock()
					defer k.mu.Unlock()
					all, k.outgoing = k.outgoing, nil
					return all
				}
				sent()
				tell := func(to wire.Message, all say) {
					for _, f := range all {
						k.fromKernel([]wire.Message{f(to)}, journal.Mark{}, false)
					}
				}
				tell(m, c.comes)
				asked := 0
				for range 5 {
					time.Sleep(endTime * 5 / 2)
					for _, r := range sent() {
						if asked++; asked > len(c.answers) {
							t.Fatalf("asked %d times", asked)
						}
						time.Sleep(c.after)
						tell(r, c.answers[asked-1])
					}
				}
				k.mu.Lock()
				defer k.mu.Unlock()
				e := k.journal.Find(m.Head.ID)
				if asked != c.asked || !e.Finished() || !e.Running || k.watching || k.probe.id != "" && !k.probe.replied {
					t.Errorf("asked %d times, not %d; %+v", asked, c.asked, e.State)
				}
				s, err := e.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				var text strings.Builder
				for m, err := range s.Messages() {
					if piece, ok := m.Stream(); ok && err == nil {
						text.WriteString(piece.Text)
					}
				}
				want := "said\n"
				if c.notice {
					want += lostText
				}
				if text.String() != want {
					t.Errorf("it shows %q, not %q", text.String(), want)
				}
				closing := ""
				r := replaying{snapshot: s, owner: true, ended: e.Ended, header: e.Header()}
				for _, m := range r.closing() {
					closing += m.Head.Type + m.State() + " "
				}
				if closing != "execute_reply statusidle " {
					t.Errorf("it ends with %s", closing)
				}
			})
		})
	}
}
