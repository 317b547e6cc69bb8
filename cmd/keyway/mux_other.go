//go:build !linux

package main

import (
	"context"
	"io"

	"keyway/internal/keyway"
)

func serveMux(context.Context, keyway.Name, io.Writer) error {
	return keyway.Errorf(keyway.Usage, "only keyway for Linux has a mux")
}

func startMux(*app, keyway.Name) {}

func guardMux(context.Context) {}

func whyNoMux(*app, string, keyway.Name) string { return "" }
