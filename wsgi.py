"""The WSGI application."""

import os

from app.factory import create_app
from app.settings import Settings

app = create_app(Settings.from_env(os.environ))
