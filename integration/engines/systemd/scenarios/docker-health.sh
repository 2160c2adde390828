# A health check, and what Docker makes of it.
docker_up
docker run $CAPS -d --name "$NAME" --health-cmd 'test -e /tmp/ok' --health-interval 1s --health-retries 2 scenario:1 sleep 1000
within docker_is "$NAME" .State.Health.Status unhealthy
docker exec "$NAME" touch /tmp/ok
within docker_is "$NAME" .State.Health.Status healthy
