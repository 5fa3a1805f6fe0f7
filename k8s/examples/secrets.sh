#!/bin/sh
# Prints every Secret that the manifests name, from secrets.env:  k8s/examples/secrets.sh | kubectl apply --server-side -f -
set -eu
file="${1:-$(dirname "$0")/secrets.env}"
[ -f "$file" ] || { echo "there is no $file; copy secrets.env.example to it and fill it in" >&2; exit 1; }
set -a
. "$file"
set +a

secret() {
  namespace="$1" name="$2"
  shift 2
  kubectl create secret generic "$name" --namespace "$namespace" --dry-run=client --output yaml "$@"
  echo ---
}

secret lhrnet lhrnet-s3 --from-literal=AWS_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
secret lhrnet lhrnet-mlflow --from-literal=MLFLOW_TRACKING_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_TRACKING_PASSWORD="$MLFLOW_PASSWORD"
secret mlflow mlflow-postgres --from-literal=username="$POSTGRES_USER" --from-literal=password="$POSTGRES_PASSWORD"
secret mlflow mlflow-s3 --from-literal=AWS_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
secret mlflow mlflow-auth --from-literal=MLFLOW_AUTH_ADMIN_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_AUTH_ADMIN_PASSWORD="$MLFLOW_PASSWORD" \
  --from-literal=MLFLOW_FLASK_SERVER_SECRET_KEY="$MLFLOW_SESSION_KEY"
if [ "${WITH_OBJECT_STORE:-}" ]; then
  secret object-store object-store-s3 --from-literal=s3.json="{\"identities\": [{\"name\": \"lhrnet\", \"credentials\": \
[{\"accessKey\": \"$S3_ACCESS_KEY_ID\", \"secretKey\": \"$S3_SECRET_ACCESS_KEY\"}], \
\"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}"
fi
