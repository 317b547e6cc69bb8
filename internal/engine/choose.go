package engine

import (
	"context"
	"strings"

	"keyway/internal/keyway"
)

// Choose is the first of candidates that can be used, and a sentence that says
// which one it is and why not the ones before it.
func Choose(ctx context.Context, candidates []Engine) (Engine, string, error) {
	var refused []string
	var last error
	for _, e := range candidates {
		err := e.Probe(ctx)
		if err == nil {
			return e, because(e.Name(), refused), nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		refused, last = append(refused, e.Name()+": "+err.Error()), err
	}
	if last == nil {
		return nil, "", keyway.Errorf(keyway.EngineAbsent, "no engine is known at this place")
	}
	return nil, "", keyway.Errorf(keyway.AsError(last).Kind, "no engine can be used here (%s)", strings.Join(refused, "; ")).
		Hint("install Docker or Podman at this place, or let its user use the one that is there: sudo usermod -aG docker $USER")
}

func because(name string, refused []string) string {
	if len(refused) == 0 {
		return "using " + name
	}
	return "using " + name + " (" + strings.Join(refused, "; ") + ")"
}
