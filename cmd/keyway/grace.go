package main

import (
	"time"

	"keyway/internal/keyway"
)

// graceValue is the value of --grace, written as the commands inside a workspace accept it.
type graceValue time.Duration

func (g *graceValue) String() string { return time.Duration(*g).String() }

func (g *graceValue) Type() string { return "duration" }

func (g *graceValue) Set(text string) error {
	grace, err := keyway.ParseGrace(text)
	if err == nil {
		*g = graceValue(grace)
	}
	return err
}
