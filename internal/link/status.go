package link

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// Status is the answer to GET /v1/status.
type Status struct {
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Identity string    `json:"identity"`
	Started  time.Time `json:"started"`
	Movable  bool      `json:"movable"`          // it can hand its connections over to another build
	Groups   []int     `json:"groups,omitempty"` // its groups, which the node of this machine has, too
	// Engine are the variables that select the Docker daemon for this machine's workspaces: those
	// of the command that started the link.
	Engine map[string]string `json:"engine,omitempty"`
	Places []PlaceStatus     `json:"places"`
	// Failed are the places that could not be reached at the last attempt, with the reason.
	Failed map[keyway.Place]Failure `json:"failed,omitempty"`
}

// Failure is the reason for which a place could not be reached, or not within a command's time.
type Failure struct {
	Error *keyway.Error `json:"error"`
	Age   time.Duration `json:"age"` // in nanoseconds
}

// failureAge is the time for which further commands get a failure without another attempt, for
// which each would wait as long.
const failureAge = 3 * time.Second

// JustFailed returns the reason for which the running link could not reach place a moment ago.
func JustFailed(ctx context.Context, runtime string, place keyway.Place) error {
	c, err := Running(ctx, runtime, nil)
	if err != nil {
		return nil
	}
	s, err := c.Status(ctx)
	if f, failed := s.Failed[place]; err == nil && failed && f.Age < failureAge {
		return f.Error
	}
	return nil
}

// engineEnv are the variables that select a Docker daemon, as for the docker command.
var engineEnv = []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"}

func chosenEngine() map[string]string {
	chosen := map[string]string{}
	for _, name := range engineEnv {
		if value := os.Getenv(name); value != "" {
			chosen[name] = value
		}
	}
	return chosen
}

// OtherEngine returns the variable by which this environment selects another Docker daemon than the
// link, whose daemon a workspace of this machine gets. name is empty if there is none.
func (s Status) OtherEngine() (name, ours, theirs string) {
	mine := chosenEngine()
	for _, name := range engineEnv {
		if mine[name] != s.Engine[name] {
			return name, mine[name], s.Engine[name]
		}
	}
	return "", "", ""
}

// PlaceStatus is the state of one uplink.
type PlaceStatus struct {
	Place   keyway.Place   `json:"place"`
	State   string         `json:"state"` // up, connecting or down
	Since   time.Time      `json:"since,omitzero"`
	PID     int            `json:"pid,omitempty"` // of the process of the connection
	Streams []StreamStatus `json:"streams,omitempty"`
	// Forwards are the ports of workspaces that commands have opened (keyway open).
	Forwards []ForwardStatus `json:"forwards,omitempty"`
	// Spares are the workspaces that hold a stream ready for the next ssh.
	Spares []keyway.Name `json:"spares,omitempty"`
}

// StreamStatus describes one ssh connection.
type StreamStatus struct {
	Workspace keyway.Name `json:"workspace"`
	Since     time.Time   `json:"since"`
	Up        int64       `json:"up"`   // bytes that the ssh has sent
	Down      int64       `json:"down"` // bytes that the ssh has got

	// Only for streams. A plain pipe, which ends with the uplink, has none of these.
	State      string    `json:"state,omitempty"` // up, stalled or redialling
	StateSince time.Time `json:"stateSince,omitzero"`
	Unacked    int64     `json:"unacknowledged,omitempty"` // bytes that the guest has not taken yet
	Stalls     int       `json:"stalls,omitempty"`         // number of times without a working path
	Resumes    int       `json:"resumes,omitempty"`
	Why        string    `json:"why,omitempty"`  // why it waits
	Help       string    `json:"help,omitempty"` // command to type about it
}

func (l *Link) status(w http.ResponseWriter, r *http.Request) {
	s := Status{PID: os.Getpid(), Version: keyway.Version, Identity: l.cfg.Identity, Started: l.started, Movable: movable, Groups: groups(), Engine: chosenEngine(), Failed: map[keyway.Place]Failure{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, uplink := range l.uplinks {
		p := uplink.status()
		p.Forwards = l.forwards.status(uplink.place)
		p.Spares = l.spares.ready(uplink)
		for c := range l.lives {
			if c.uplink == uplink {
				p.Streams = append(p.Streams, c.status())
			}
		}
		if f := uplink.failed(); f != nil {
			s.Failed[uplink.place] = *f
		}
		slices.SortFunc(p.Streams, func(a, b StreamStatus) int { return a.Since.Compare(b.Since) })
		s.Places = append(s.Places, p)
	}
	slices.SortFunc(s.Places, func(a, b PlaceStatus) int { return strings.Compare(string(a.Place), string(b.Place)) })
	api.WriteJSON(w, s)
}

func (u *uplink) status() PlaceStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := PlaceStatus{Place: u.place, State: "down"}
	switch {
	case u.up != nil:
		p.State, p.Since, p.PID = "up", u.up.since, u.up.process.cmd.Process.Pid
	case u.attempt != nil:
		p.State = "connecting"
	}
	return p
}

// failed returns the last failure since the uplink was up; nil if there is none.
func (u *uplink) failed() *Failure {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failure == nil {
		return nil
	}
	return &Failure{u.failure.err, time.Since(u.failure.at)}
}

func (c *proxied) status() StreamStatus {
	s := StreamStatus{Workspace: c.name, Since: c.since, Up: c.up.Load(), Down: c.down.Load()}
	guest := c.guest.Load()
	if guest == nil {
		return s
	}
	st := guest.Status()
	s.Up, s.Down, s.Unacked = int64(st.Up), int64(st.Down), int64(st.Unacked)
	s.State, s.StateSince, s.Why = st.State.String(), st.Since, st.Why
	if st.State != stream.Up {
		s.Help = c.advice()
	}
	s.Stalls, s.Resumes = st.Stalls, st.Resumes
	return s
}
