package engine

import (
	"context"
	"strings"

	"keyway/internal/keyway"
)

// Choose returns the first of candidates that can be used, and a sentence that names it and says
// why the ones before it cannot.
func Choose(ctx context.Context, candidates []Engine) (Engine, string, error) {
	var refused []string
	var nearest *keyway.Error
	for _, e := range candidates {
		err := e.Probe(ctx)
		if err == nil {
			return e, because(e.Name(), refused), nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		refused = append(refused, e.Name()+": "+err.Error())
		// An installed engine that is down or forbidden is closer to working than one that is not
		// installed.
		if why := keyway.AsError(err); nearest == nil || nearest.Kind == keyway.EngineAbsent && why.Kind != keyway.EngineAbsent {
			nearest = why
		}
	}
	if nearest == nil {
		return nil, "", keyway.Errorf(keyway.EngineAbsent, "no engine is known at this place")
	}
	none := keyway.Errorf(nearest.Kind, "no engine can be used at this place (%s)", strings.Join(refused, "; "))
	none.Next, none.Advice = nearest.Next, nearest.Advice
	if len(none.Advice) > 0 { // this advice also says how to do without
		return nil, "", none
	}
	return nil, "", none.Advise(keyway.WithoutContainer)
}

func because(name string, refused []string) string {
	if len(refused) == 0 {
		return "using " + name
	}
	return "using " + name + " (" + strings.Join(refused, "; ") + ")"
}
