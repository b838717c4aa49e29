package harness

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Serving asks the standard health service about a service of the agent, "" for
// the whole.
func (a *Agent) Serving(ctx context.Context, service string) (bool, error) {
	c, err := grpc.NewClient("unix://"+a.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false, fmt.Errorf("dial agent: %w", err)
	}
	defer c.Close()
	r, err := healthv1.NewHealthClient(c).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
	if err != nil {
		return false, fmt.Errorf("check health: %w", err)
	}
	return r.GetStatus() == healthv1.HealthCheckResponse_SERVING, nil
}
