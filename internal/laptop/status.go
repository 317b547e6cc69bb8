package laptop

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// Report is the status of one place.
type Report struct {
	link.PlaceStatus
	Hops  []string      `json:"hops,omitempty"`
	RTT   time.Duration `json:"rttNanoseconds,omitempty"`
	Note  string        `json:"note,omitempty"` // what makes the route slower than need be
	Node  *api.Info     `json:"node,omitempty"`
	Error *keyway.Error `json:"error,omitempty"`
}

// pings is the number of round trips that are measured; the shortest is reported.
const pings = 3

// Examine reaches one place and measures the route to it.
func (here *Laptop) Examine(ctx context.Context, l *link.Client, place keyway.Place) (r Report) {
	r = Report{PlaceStatus: link.PlaceStatus{Place: place, State: "down"}}
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	if place != keyway.Local {
		if hops, err := sshconfig.Hops(ctx, place); err == nil {
			for _, h := range hops {
				r.Hops = append(r.Hops, hopText(h))
			}
			note := besideSlowJump(ctx, hops)
			defer func() { r.Note = note() }()
		}
	}
	node, err := here.reach(ctx, l, place, here.at(place))
	if err == nil {
		r.RTT, err = roundTrip(ctx, node)
	}
	if err == nil {
		var info api.Info
		if info, err = node.Info(ctx); err == nil {
			r.Node = &info
		}
	}
	if place != keyway.Local && errors.Is(err, context.DeadlineExceeded) && keyway.AsError(err).Kind == keyway.Other {
		err = keyway.Errorf(keyway.Unreachable, "%s has not answered within %v", place, placeTimeout).
			Hint("try by hand: ssh %s true", place)
	}
	r.Error = keyway.AsError(err)
	return r
}

// jumpGrace is the time that a jump host may take beyond the place's.
const jumpGrace = 200 * time.Millisecond

// besideSlowJump begins to ask SlowJump, whose answer the function that it returns waits
// for: until the jump host has had its time, and a moment.
func besideSlowJump(ctx context.Context, hops []sshconfig.Host) (answer func() string) {
	ctx, cancel := context.WithCancel(ctx)
	note := make(chan string, 1)
	go func() { note <- SlowJump(ctx, hops) }() // joined by answer
	return func() string {
		late := time.AfterFunc(jumpGrace, cancel)
		defer late.Stop()
		defer cancel()
		return <-note
	}
}

// hopText returns a host as the user wrote it, and the address that it stands for.
func hopText(h sshconfig.Host) string {
	address := h.User + "@" + net.JoinHostPort(h.HostName, h.Port)
	return h.Name + " (" + address + ")"
}

func roundTrip(ctx context.Context, node *api.Client) (best time.Duration, err error) {
	for range pings {
		begun := time.Now()
		if err := node.Ping(ctx); err != nil {
			return 0, err
		}
		if d := time.Since(begun); best == 0 || d < best {
			best = d
		}
	}
	return best, nil
}

// IsUp reports whether the link is connected to place. Completion makes no connection, since
// ssh might ask the user something.
func (here *Laptop) IsUp(ctx context.Context, place keyway.Place) bool {
	l, err := link.Running(ctx, here.runtime, nil) // completion prints no message
	if err != nil {
		return false
	}
	s, err := l.Status(ctx)
	return err == nil && slices.ContainsFunc(s.Places, func(p link.PlaceStatus) bool { return p.Place == place && p.State == "up" })
}
