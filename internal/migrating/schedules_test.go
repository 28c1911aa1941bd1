package migrating

import (
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

func natsBefore() nats.Option {
	return nats.ReconnectWait(2 * time.Second) // the same for every round, and up to 100ms of jitter
}

func natsAfter() nats.Option {
	policy := backoff.Policy{Max: 15 * time.Second}
	return nats.CustomReconnectDelay(policy.Delay)
}

func mqttBefore(c *autopaho.ClientConfig) {
	c.ReconnectBackoff = autopaho.DefaultExponentialBackoff()
}

func mqttAfter(c *autopaho.ClientConfig) {
	policy := backoff.Policy{Min: time.Second, Max: 15 * time.Second}
	c.ReconnectBackoff = func(attempt int) time.Duration {
		if attempt == 0 { // before the first connection, and after the loss of a session
			return 0
		}
		return policy.Delay(attempt)
	}
}

func TestSchedules(t *testing.T) {
	var before, after nats.Options
	require.NoError(t, natsBefore()(&before))
	require.Equal(t, 2*time.Second, before.ReconnectWait)
	require.NoError(t, natsAfter()(&after))
	for n, most := range map[int]time.Duration{1: 500 * time.Millisecond, 3: 2 * time.Second, 50: 15 * time.Second} {
		d := after.CustomReconnectDelayCB(n)
		require.Greater(t, d, most/2)
		require.LessOrEqual(t, d, most)
	}
	var c autopaho.ClientConfig
	mqttBefore(&c)
	require.NotNil(t, c.ReconnectBackoff)
	mqttAfter(&c)
	require.Zero(t, c.ReconnectBackoff(0))
	require.LessOrEqual(t, c.ReconnectBackoff(1), time.Second)
	require.LessOrEqual(t, c.ReconnectBackoff(50), 15*time.Second)
}
