package grant

import (
	"context"
	"errors"
	"time"

	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/plugin/egress"
)

// ask makes a request, unless its server keeps failing; then the error is a [*circuit.Refused]
// and nothing was dialled.
func (g *Grant) ask(ctx context.Context, r egress.Request) (egress.Response, error) {
	server := egress.Origin(r.URL)
	question, err := g.circuits.Begin(server)
	if err != nil {
		return egress.Response{}, err
	}
	outcome := circuit.Neither
	defer func() { g.tell(server, question, outcome) }()
	start := time.Now() // a duration of the real world
	response, err := g.web.Fetch(ctx, r)
	outcome = g.outcome(response, err, time.Since(start))
	return response, err
}

// outcome is what an answer or an error says of the server. What was refused on this side says
// nothing, and neither does a fetch that was given up: by who asked, or because little time was
// left of its call.
func (g *Grant) outcome(r egress.Response, err error, took time.Duration) circuit.Outcome {
	switch {
	case err == nil && r.Status < 500:
		return circuit.Success
	case err == nil:
		return circuit.Failure
	case !errors.Is(err, egress.ErrUnreachable), errors.Is(err, context.Canceled):
		return circuit.Neither
	case errors.Is(err, context.DeadlineExceeded) && took < g.fair:
		return circuit.Neither
	}
	return circuit.Failure
}

// tell notes how a request ended, and logs what follows from it.
func (g *Grant) tell(server string, q circuit.Question, o circuit.Outcome) {
	state, changed := q.End(o)
	switch {
	case !changed:
	case state == circuit.Open:
		g.log.Warn("a server keeps failing and is not asked for a while", "provider", g.name, "server", server)
	case state == circuit.Closed:
		g.log.Info("a server answers again", "provider", g.name, "server", server)
	}
}
