from bench_models import load_forest
from fastapi import FastAPI
from pydantic import BaseModel

forest = load_forest()
app = FastAPI()


class Features(BaseModel):
    features: list[float]


@app.post("/forest_batch")
def predict(body: Features) -> dict[str, int]:
    return {"result": int(forest.predict([body.features])[0])}
