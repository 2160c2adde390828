# Output in the journal, with the container's name; what ends under Restart= comes again.
podman run -d --name "$NAME" --log-driver journald --restart on-failure:3 "$IMAGE" sh -c "echo said by $NAME; exit 4"
said() { [ "$(journal -o cat "CONTAINER_NAME=$NAME" | grep -c "^said by $NAME")" -ge 4 ]; }
within said
within is "$NAME" .RestartCount 3
within is "$NAME" .State.Status exited
same "$(field "$NAME" .State.ExitCode)" 4
